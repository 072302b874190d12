"""The build of the compiled request path: what it does to the sources, and the gateway's tests on its result."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compile_tool", ROOT / "deploy" / "compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCE = '''"""Module."""
import msgspec

class Usage(msgspec.Struct, frozen=True):
    """Counts."""

    tokens: int | None = None


class Plain:
    usage: Usage | None = None

class More(Usage, frozen=True):
    text: str = ""
'''


def test_structs_stay_where_mypyc_does_not_reach_them(tool: ModuleType) -> None:
    assert tool.value_classes([SOURCE]) == {"Usage", "More"}
    rest = tool.without_values(SOURCE, "core.interpreted_usage", {"Usage", "More"})
    lines, before = rest.split("\n"), SOURCE.split("\n")
    assert len(lines) == len(before)
    assert lines[3] == "from core.interpreted_usage import Usage as Usage"
    assert lines[12] == "from core.interpreted_usage import More as More"
    assert lines.index("class Plain:") == before.index("class Plain:")
    assert "Struct" not in rest
    assert tool.without_values("x = 1\n", "y", {"Usage"}) == "x = 1\n"


def test_a_struct_may_inherit_from_another_modules_and_named_tuples_are_moved_too(tool: ModuleType) -> None:
    assert tool.value_classes(
        ["class B(a.A): ...", "class A(Struct): ...", "class C: ...", "class D(NamedTuple): ..."]
    ) == {"A", "B", "D"}


def test_a_default_that_mypyc_would_lose_is_found(tool: ModuleType) -> None:
    listener = "class Listener(Protocol): ...\n"
    lost = "class Incoming:\n    size: int | None = None\n    listener: Listener | None = None\n"
    assert tool.missing_defaults({"a.py": listener, "b.py": lost}) == ["b.py:3: Incoming.listener"]
    assert tool.missing_defaults({"a.py": listener, "b.py": "class Incoming:\n    listener: Listener\n"}) == []


def test_the_chosen_modules_have_nothing_that_would_be_lost(tool: ModuleType) -> None:
    modules = tool.chosen_modules(ROOT)
    assert Path("gateway/exchange.py") in modules
    assert tool.missing_defaults({str(module): (ROOT / module).read_text("utf-8") for module in modules}) == []


def test_without_a_c_compiler_it_says_so_and_leaves_the_folder_alone(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "deploy" / "compile.py"), str(tmp_path / "compiled")]
    done = subprocess.run(command, env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no C compiler" in done.stderr
    assert "run interpreted" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_gateways_tests_pass_on_the_compiled_form(tool: ModuleType, tmp_path: Path) -> None:
    try:
        tool.require_tools()
    except tool.CompileError as error:
        if "CI" not in os.environ:
            pytest.skip(f"NOT RUN: {error.cause}")
        raise
    folder = tmp_path / "compiled"
    subprocess.run([sys.executable, str(ROOT / "deploy" / "compile.py"), str(folder)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    form = "import gateway.build; print(gateway.build.form(), gateway.build.__file__)"
    said = subprocess.run(
        [sys.executable, "-P", "-c", form], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["compiled", str(folder / "gateway" / "build.py")]
    tests = [sys.executable, "-P", "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"]
    chosen = [
        "--hypothesis-profile=quick",
        "-m",
        "not system and not vllm and not slow and not long",
        str(ROOT / "tests" / "gateway"),
    ]
    done = subprocess.run([*tests, *chosen], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:]
