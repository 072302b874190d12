"""The published vectors: what they say holds here, independent tools agree, and they are what the script makes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import mmh3
import pytest

from rollout.core.bucketing import bucket
from rollout.core.codec import parse_document
from rollout.core.evaluate import compile_snapshot, decide, in_shadow
from rollout.core.flagd import flagd_context, is_portable, render_flag
from rollout.core.model import BUCKETS, Arm, Reason, Subject
from tests.rollout.core.strategies import flagd_variant, unit_of

SCRIPT = Path(__file__).parents[2] / "vectors" / "make.py"
VECTORS: dict[str, Any] = json.loads((SCRIPT.parent / "decisions.json").read_text("utf-8"))
FLAGS = {name: parse_document(document) for name, document in VECTORS["documents"].items()}
SNAPSHOTS = {name: compile_snapshot(flags, 1) for name, flags in FLAGS.items()}


@pytest.mark.parametrize("name", FLAGS)
def test_every_decision_is_as_published(name: str) -> None:
    vectors = [vector for vector in VECTORS["decisions"] if vector["document"] == name]
    assert len(vectors) > 50
    for vector in vectors:
        subject = Subject(**vector["subject"])
        told = decide(SNAPSHOTS[name], vector["feature"], subject)
        found = (told.arm, told.reason, told.bucket, told.unit_kind, in_shadow(SNAPSHOTS[name], told, subject))
        assert found == tuple(vector[key] for key in ("arm", "reason", "bucket", "unit", "shadow")), vector


def test_every_bucket_is_as_published_and_as_other_libraries_draw_it() -> None:
    for vector in VECTORS["buckets"]:
        version, salt, unit = vector["hashVersion"], vector["salt"], vector["unit"]
        hashed = cbor2.dumps([salt, unit], canonical=True) if version == 3 else (salt + unit).encode()
        assert vector["bucket"] == bucket(version, salt, unit)
        assert vector["bucket"] == (mmh3.hash(hashed, signed=False) * BUCKETS) >> 32


def test_flagd_core_gives_the_published_arms_of_what_is_portable() -> None:
    asked = 0
    for vector in VECTORS["decisions"]:
        flag = FLAGS[vector["document"]].get(vector["feature"])
        if flag is None or not is_portable(flag) or flag.hash_version != 3:
            continue
        subject = Subject(**vector["subject"])
        rendered, context = render_flag(flag) | {"name": flag.feature}, flagd_context(flag, subject)
        told = flagd_variant(rendered, context, unit_of(flag, subject), flag.baseline)
        assert told == (flag.candidate if vector["arm"] == Arm.CANDIDATE else flag.baseline), vector
        asked += 1
    assert asked > 300


def test_the_vectors_show_every_reason_that_a_document_can_give() -> None:
    shown = {vector["reason"] for vector in VECTORS["decisions"]}
    assert shown == {reason.value for reason in Reason} - {Reason.NO_SNAPSHOT, Reason.ERROR}


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_another_process_makes_the_same_vectors(seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run([sys.executable, SCRIPT, "--check"], env=environment, check=False)
    assert done.returncode == 0, "python tests/vectors/make.py writes them again"
