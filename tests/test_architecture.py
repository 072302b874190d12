"""The shape of the code, read from its syntax trees: who imports whom, what core keeps out, how large things get."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "rollout", "serving", "loadtests")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

VALUE_LIBRARIES = {"msgspec", "numpy", "mmh3"}
# What core may not ask for itself: time, chance, the environment, other machines and processes, a place to log to.
IMPURE_MODULES = {
    "asyncio", "concurrent", "ftplib", "getpass", "glob", "http", "logging", "multiprocessing", "os", "pathlib",
    "platform", "queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid",
    "warnings",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
# Text of its own making only: tests/rollout/core/test_rule_code.py.
MAKES_FUNCTIONS = {"rollout.core.rule_code": {"exec"}}
IMPURE_METHODS = {"now", "utcnow", "today", "default_rng", "getenv"}
VAGUE_NAMES = {"utils", "util", "helpers", "common", "manager", "managers", "misc"}
# gateway may use these modules of rollout; its composition roots any.
ROLLOUT_FOR_GATEWAY = ("rollout.core", "rollout.follower")
COMPOSITION_ROOTS = {"gateway.cli", "gateway.controller", "gateway.supervisor", "gateway.worker"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {path: ast.parse(path.read_text("utf-8")) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
MODULES = {module_of(path): tree for path, tree in SOURCES.items()}
CORE = {name: tree for name, tree in MODULES.items() if "core" in name.split(".")}


def type_checking_only(tree: ast.AST) -> set[ast.AST]:
    """Nodes under `if TYPE_CHECKING:`; they describe, they don't depend."""
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    return {inner for node in guarded for statement in node.body for inner in ast.walk(statement)}


def imports(tree: ast.Module, module: str, *, typing_too: bool = True) -> Iterator[str]:
    """Dotted names a module imports: of `from a import b` both a and, where it is a module, a.b."""
    left_out = set() if typing_too else type_checking_only(tree)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def under(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def is_own(name: str) -> bool:
    return under(name, *PACKAGES)


def test_the_packages_are_found() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(PACKAGES)
    assert {"gateway.core.call", "rollout.core.evaluate"} <= set(CORE)


@pytest.mark.parametrize("module", CORE)
def test_core_imports_values_and_core_only(module: str) -> None:
    allowed = ("rollout.core", f"{module.split('.', maxsplit=1)[0]}.core")
    for name in imports(CORE[module], module):
        top = name.split(".")[0]
        if is_own(name):
            assert under(name, *allowed), f"{module} imports {name}"
        else:
            assert top in sys.stdlib_module_names | VALUE_LIBRARIES, f"{module} imports {name}"
            assert not under(name, *IMPURE_MODULES), f"{module} imports {name}"


@pytest.mark.parametrize("module", CORE)
def test_core_neither_waits_nor_asks_the_world(module: str) -> None:
    for node in ast.walk(CORE[module]):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            impure = IMPURE_CALLS - MAKES_FUNCTIONS.get(module, set())
            assert node.func.id not in impure, f"{where} calls {node.func.id}()"
        if isinstance(node, ast.Attribute):
            assert node.attr not in IMPURE_METHODS, f"{where} uses .{node.attr}"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("gateway")])
def test_only_the_gateway_knows_the_other_packages(module: str) -> None:
    own = module.split(".", maxsplit=1)[0]
    for name in imports(MODULES[module], module):
        assert not is_own(name) or under(name, own), f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway")])
def test_the_gateway_sees_decisions_and_the_follower_of_rollout(module: str) -> None:
    foreign = [name for name in imports(MODULES[module], module, typing_too=False) if is_own(name)]
    if module in COMPOSITION_ROOTS:
        return
    # The admin application mounts rollout's API and words errors as it does.
    joints = dict.fromkeys(
        ("gateway.admin", "gateway.arena_api", "gateway.export_api", "gateway.request_api"), ("rollout.api.problems",)
    )
    for name in foreign:
        assert under(name, "gateway", *ROLLOUT_FOR_GATEWAY, *joints.get(module, ())), f"{module} imports {name}"


def test_adapters_are_imported_by_composition_roots_only() -> None:
    for module, tree in MODULES.items():
        if under(module, "rollout.adapters") or module in COMPOSITION_ROOTS:
            continue
        for name in imports(tree, module):
            assert ".adapters" not in name, f"{module} imports {name}"


def test_no_cycle_between_modules() -> None:
    graph = {
        module: {name for name in imports(tree, module, typing_too=False) if name in MODULES and name != module}
        for module, tree in MODULES.items()
    }
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(cycle.args[1])}")
    assert set(order) >= set(MODULES)


def test_names_say_what_is_inside() -> None:
    parts = {part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & VAGUE_NAMES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(SOURCES[path]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert (node.end_lineno or first) - first + 1 <= FUNCTION_LINES_MAX, f"{node.name}, line {node.lineno}"
