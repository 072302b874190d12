"""A few steps of real training in the vLLM environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from serving import environment
from serving.demo_model.manifest import CHECKPOINTS
from serving.errors import InstallError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return environment.find(None, os.environ).python
    except InstallError as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{missing.cause}; {missing.hint}")


def run(python: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *argv], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.vllm
def test_a_few_steps_leave_two_loadable_checkpoints(python: Path, tmp_path: Path) -> None:
    sizes = ("--steps", "4", "--worse-step", "2", "--training-samples", "200", "--evaluation-samples", "1")
    done = run(python, "-m", "serving.demo_model.train", "--out", str(tmp_path), "--threads", "2", *sizes)
    assert done.returncode == 0, done.stderr
    assert "training 4/4" in done.stderr
    for name, step in zip(CHECKPOINTS, (4, 2), strict=True):
        record = json.loads((tmp_path / name / "training.json").read_text())
        assert (record["step"], record["seed"]) == (step, 1)
        assert set(record["offline_exact_match_fp32"]) == {"rewrite", "summarize", "draft"}
        assert 1_800_000 < (tmp_path / name / "model.safetensors").stat().st_size < 2_000_000
    good, worse = ((tmp_path / name / "model.safetensors").read_bytes() for name in CHECKPOINTS)
    assert good != worse


@pytest.mark.vllm
def test_muon_makes_updates_orthogonal(python: Path) -> None:
    program = """
import torch
from serving.demo_model.muon import Muon, orthogonalise
torch.manual_seed(0)
for shape in ((3, 64, 64), (3, 128, 64), (3, 64, 128)):
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    stretched = u @ torch.diag(torch.linspace(0.2, 1.0, 64)) @ v
    singular = torch.linalg.svdvals(orthogonalise(stretched))
    assert 0.6 < singular.min() and singular.max() < 1.3, (shape, singular.min(), singular.max())
    assert torch.allclose(orthogonalise(stretched), orthogonalise(7 * stretched), atol=1e-4)
matrix, stack = (torch.nn.Parameter(torch.zeros(s)) for s in ((64, 64), (2, 64, 64)))
muon = Muon([matrix, stack], lr=0.1, momentum=0.9)
goals = torch.randn(64, 64), torch.randn(2, 64, 64)
def loss(): return sum(((p - g) ** 2).mean() for p, g in zip((matrix, stack), goals))
before = loss(); before.backward(); muon.step(1.0)
assert loss() < before
"""
    done = run(python, "-c", program)
    assert done.returncode == 0, done.stderr
