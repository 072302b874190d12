from pathlib import Path

import pytest

from loadtests.bench import peers
from loadtests.bench.peers import PEERS, VLLM_ROUTER, install


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "glidepath" / "bench"


def test_every_peer_is_pinned_to_one_version() -> None:
    assert [(peer.name, peer.version.count(".")) for peer in PEERS] == [
        ("vllm-router", 2),
        ("sglang-router", 2),
        ("litellm", 2),
    ]


def test_an_installed_peer_is_not_installed_again(cache: Path) -> None:
    folder = cache / f"vllm-router-{VLLM_ROUTER.version}"
    folder.mkdir(parents=True)
    (folder / "complete").touch()
    said: list[str] = []
    assert install(VLLM_ROUTER, said.append) == (folder / "bin" / "vllm-router", "")
    assert not said


def test_what_cannot_be_installed_has_a_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.sys, "executable", "/nowhere/python")
    said: list[str] = []
    assert install(VLLM_ROUTER, said.append) == (None, "not installable: FileNotFoundError of python")
    assert said == ["installing vllm-router 0.1.17 for comparison, once ..."]
    assert not (cache / "vllm-router-0.1.17" / "complete").exists()
