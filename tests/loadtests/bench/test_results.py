import json
from pathlib import Path

import msgspec
import pytest

from loadtests.bench.results import Document, decode, encode, json_schema

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "benchmarks" / "schema.json"


def test_a_document_is_what_it_was_after_a_round_trip(document: Document) -> None:
    text = encode(document)
    assert decode(text) == document
    assert text.startswith('{\n "schema": 1,\n "plan": "default",')


def test_another_version_is_refused(document: Document) -> None:
    with pytest.raises(msgspec.ValidationError, match="schema"):
        decode(encode(document).replace('"schema": 1', '"schema": 2'))


def test_the_published_schema_is_the_code_s() -> None:
    # To refresh: python -c 'import json; from loadtests.bench.results import json_schema as s; print(json.dumps(s()))'
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(json_schema()))
