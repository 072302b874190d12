"""Build the request path with mypyc into a folder of its own: `python deploy/compile.py build/compiled`.

The folder holds a copy of the packages with extension modules beside the sources of `[tool.glidepath.compiled]`. Put
first on PYTHONPATH it is what runs; without it, or under another Python, everything runs interpreted. Needs a C
compiler, Python's headers, mypy and setuptools (the development environment has the last two).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "rollout", "serving", "loadtests")
# Such an attribute would simply be missing from the compiled class.
_FATAL_WARNING = "Unsupported default attribute value"

_VALUE_BASES = {"Struct", "NamedTuple", "Enum", "StrEnum", "IntEnum"}
_SIBLING = "interpreted_"

# Run in the new folder: which modules are extensions, and which Structs are theirs (there must be none).
_LOADED = """
import importlib, json, sys, msgspec
modules = [importlib.import_module(name) for name in sys.argv[1:]]
compiled = [module.__name__ for module in modules if not module.__file__.endswith(".py")]
structs = [
    f"{module.__name__}.{key}" for module in modules for key, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ in compiled
]
print(json.dumps([compiled, structs]))
"""


class CompileError(Exception):
    """`cause`: one line; `hint`: what to do."""

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


def chosen_modules(root: Path) -> list[Path]:
    """The modules to compile, relative to `root`, as pyproject.toml names them."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["glidepath"]["compiled"]
    found = {path for pattern in settings["modules"] for path in root.glob(pattern)}
    return sorted(path.relative_to(root) for path in found if path.read_text("utf-8").strip())


def value_classes(sources: Iterable[str]) -> set[str]:
    """Names of the classes that are Structs, NamedTuples or Enums, directly or through another one."""
    classes = [node for source in sources for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    bases = {node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases} for node in classes}
    found = set(_VALUE_BASES)
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found - _VALUE_BASES


def without_values(source: str, sibling: str, values: set[str]) -> str:
    """The same module with its Structs and NamedTuples imported from `sibling`, line numbers kept.

    mypyc would lose what makes a Struct: of a field's type `X | None` it keeps `type`, of `frozen=True` nothing. And of
    a NamedTuple's fields it wants the types when the module is loaded, those for type checkers only included. Enums go
    with them, as the types of fields.
    """
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name in values:
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            lines[first:last] = [f"from {sibling} import {node.name} as {node.name}", *[""] * (last - first - 1)]
    return "\n".join(lines)


def missing_defaults(sources: dict[str, str]) -> list[str]:
    """Class-level `x: P | None = None` where P is a Protocol: mypyc gives such an attribute no value at all."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    classes = [(name, node) for name, tree in trees.items() for node in tree.body if isinstance(node, ast.ClassDef)]
    protocols = {node.name for _, node in classes if any(ast.unparse(base) == "Protocol" for base in node.bases)}
    return [
        f"{name}:{statement.lineno}: {node.name}.{ast.unparse(statement.target)}"
        for name, node in classes
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and statement.value is not None
        if protocols & {part.id for part in ast.walk(statement.annotation) if isinstance(part, ast.Name)}
    ]


def require_tools() -> None:
    """Raises `CompileError` if something is missing."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise CompileError(f"there is no C compiler ({compiler})", "apt-get install gcc; or run interpreted, as before")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CompileError("Python's C headers are missing", "apt-get install python3-dev; or run interpreted")
    for module in ("mypyc", "setuptools"):
        if importlib.util.find_spec(module) is None:
            raise CompileError(f"{module} is not installed", "make setup-dev, then use .venv/bin/python")


def build(folder: Path) -> list[Path]:
    """Fill `folder`, replacing what is there only once all is well; the compiled modules. Raises `CompileError`."""
    require_tools()
    modules = chosen_modules(ROOT)
    undefined = missing_defaults({str(module): (ROOT / module).read_text("utf-8") for module in modules})
    if undefined:
        raise CompileError(f"defaults that would be lost: {', '.join(undefined)}", "set them in __init__")
    staging, objects = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.objects")
    for old in (staging, objects):
        shutil.rmtree(old, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, staging / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    values = value_classes(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    for module in modules:
        source, sibling = (ROOT / module).read_text("utf-8"), module.with_name(_SIBLING + module.name)
        rest = without_values(source, _dotted(sibling), values)
        if rest != source:
            (staging / sibling).write_text(source, "utf-8")
            (staging / module).write_text(rest, "utf-8")
    _compile(staging, objects.absolute(), modules)
    _check(staging.absolute(), modules)
    for module in modules:
        shutil.copy(ROOT / module, staging / module)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    shutil.rmtree(objects)
    return modules


def _compile(staging: Path, objects: Path, modules: list[Path]) -> None:
    inner = [sys.executable, str(Path(__file__).resolve()), "--here", str(objects), *map(str, modules)]
    environment = {**os.environ, "PYTHONPATH": str(staging.absolute())}
    done = subprocess.run(inner, cwd=staging, env=environment, capture_output=True, text=True, check=False)
    refused = [line for line in (done.stdout + done.stderr).splitlines() if "error:" in line or _FATAL_WARNING in line]
    if done.returncode or refused:
        sys.stderr.write(done.stdout + done.stderr)
        raise CompileError((refused or ["mypyc failed, see above"])[0], "docs/decisions/0006 says how to write it")


def _compile_here(objects: Path, modules: list[str]) -> None:
    """Translate and compile in the working directory; mypyc and setuptools end the process on failure."""
    from mypyc.build import mypycify  # noqa: PLC0415  only this process needs it
    from setuptools import setup  # noqa: PLC0415  see above

    options = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={objects / 'types'}"]
    extensions = mypycify(
        [*options, *modules], opt_level="2", debug_level="0", target_dir=str(objects), group_name="glidepath"
    )
    sys.argv = ["setup.py", "-q", "build_ext", "--inplace", "--build-temp", str(objects)]
    setup(name="glidepath-compiled", ext_modules=extensions, packages=[], py_modules=[])


def _check(folder: Path, modules: list[Path]) -> None:
    """Import the whole gateway from `folder`: a class that inherits from a compiled one fails there, if it may not."""
    names = sorted(_dotted(path.relative_to(folder)) for path in (folder / "gateway").rglob("*.py"))
    command = [sys.executable, "-c", _LOADED, *names]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"import fails: {done.stderr.strip().splitlines()[-1]}", done.stderr)
    compiled, structs = json.loads(done.stdout)
    if sorted(compiled) != sorted(map(_dotted, modules)):
        raise CompileError(f"other modules were compiled than chosen: {compiled}", "see [tool.glidepath.compiled]")
    if structs:
        raise CompileError(f"compiled Structs: {structs}", "their bases must be named in the same way everywhere")


def _dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 with a one-line cause."""
    if arguments[0] == "--here":
        _compile_here(Path(arguments[1]), arguments[2:])
        return 0
    started_s = time.monotonic()
    print("compiling the request path, about a minute ...", flush=True)
    try:
        modules = build(Path(arguments[0]))
    except CompileError as error:
        sys.stderr.write(f"compile: {error.cause}\n  hint: {error.hint}\n")
        return 1
    took_s = time.monotonic() - started_s
    print(f"{len(modules)} modules in {took_s:.0f} s; to run them: PYTHONPATH={Path(arguments[0]).resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
