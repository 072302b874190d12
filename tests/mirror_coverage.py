"""Checks that every core module is covered, branches included, by its own mirror test alone.

`python tests/mirror_coverage.py [PATH ...]` names the core modules that fall short and exits 1 if there are any. Each
module's test runs in a process of its own, so that no other test can lend it coverage. The processes are forked from
one that has imported the test tools already, which is most of the work.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

import coverage
import hypothesis  # noqa: F401  imported once here instead of in every process
import msgspec  # noqa: F401  see above
import pytest
import pytest_asyncio  # noqa: F401  see above

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "rollout", "serving", "loadtests")


def core_modules() -> list[Path]:
    """Every module of a `core` package that holds code, relative to the root."""
    found = (path for package in PACKAGES for path in (ROOT / package).glob("**/core/**/*.py"))
    return sorted(path.relative_to(ROOT) for path in found if path.read_text(encoding="utf-8").strip())


def mirror_of(module: Path) -> Path:
    """The test file that stands for `module`."""
    return Path("tests") / module.parent / f"test_{module.name}"


def shortfall(module: Path) -> str | None:
    """Run the mirror test of `module` under coverage; None if it reaches every line and branch, else what is missing.

    For a process that has not imported the module yet.
    """
    mirror = mirror_of(module)
    if not mirror.exists():
        return f"{module}: there is no {mirror}"
    measured = coverage.Coverage(data_file=None, branch=True, include=[str(module)])
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), measured.collect():
        failed = pytest.main(["-q", "-x", "--no-header", "--assert=plain", "--hypothesis-profile=mirror", str(mirror)])
    if failed:
        return f"{module}: {mirror} fails\n{output.getvalue()[-2000:]}"
    return _judge(module, measured)


def _judge(module: Path, measured: coverage.Coverage) -> str | None:
    with NamedTemporaryFile("r", suffix=".json") as report:
        try:
            measured.json_report(outfile=report.name)
            covered = json.load(report)["files"][str(module)]
        except (coverage.CoverageException, KeyError):
            return f"{module}: its mirror test never runs it"
    if covered["missing_lines"] or covered["missing_branches"]:
        return f"{module}: lines {covered['missing_lines']}, branches {covered['missing_branches']} are not reached"
    return None


def shortfalls(modules: list[Path]) -> list[str]:
    """Check `modules`, as many at once as there are processors."""
    forked = multiprocessing.get_context("fork")
    with forked.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        return [found for found in pool.imap_unordered(shortfall, modules, chunksize=1) if found]


def main(arguments: list[str]) -> int:
    """Check the given core modules, or all."""
    os.chdir(ROOT)
    modules = [Path(argument) for argument in arguments] or core_modules()
    found = sorted(shortfalls(modules))
    sys.stdout.writelines(f"{each}\n" for each in found)
    sys.stdout.write(f"{len(modules) - len(found)} of {len(modules)} core modules are covered by their own tests\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
