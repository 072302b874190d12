from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serving.demo_model.errors import DemoModelError
from serving.demo_model.manifest import CHECKPOINTS, FILE_NAME, differences, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in CHECKPOINTS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text('{"seed": 1}')
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    (tmp_path / "good" / "evaluation.json").write_text('{"prompts": 9}')
    write_manifest(tmp_path)
    return tmp_path


def test_a_fresh_manifest_agrees(weights: Path) -> None:
    assert differences(weights) == []
    good = json.loads((weights / FILE_NAME).read_text())["checkpoints"]["good"]
    assert good["training"] == {"seed": 1}
    assert good["served_exact_match"] == {"prompts": 9}


def test_every_kind_of_difference_is_named(weights: Path) -> None:
    (weights / "good" / "model.safetensors").write_bytes(b"other")
    (weights / "good" / "evaluation.json").unlink()
    (weights / "worse" / "extra.bin").write_bytes(b"")
    assert differences(weights) == [
        "good/evaluation.json: missing",
        "good/model.safetensors: changed",
        "worse/extra.bin: not in the manifest",
    ]


def test_a_missing_or_broken_manifest_is_named(weights: Path) -> None:
    (weights / FILE_NAME).write_text("{")
    with pytest.raises(DemoModelError) as raised:
        differences(weights)
    assert FILE_NAME in raised.value.cause
    (weights / FILE_NAME).unlink()
    with pytest.raises(DemoModelError):
        differences(weights)
