"""Checks that every core module is covered, branches included, by its own mirror test alone.

`python tests/mirror_coverage.py [PATH ...]` names the core modules that fall short and exits 1 if there are any. What a
test reaches is recorded under the name of its file, so no other test can lend a module coverage. There is a process for
each processor, and each runs a share of the mirror tests.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import coverage
import hypothesis  # noqa: F401  imported once here instead of in every process
import msgspec  # noqa: F401  see above
import pytest
import pytest_asyncio  # noqa: F401  see above

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "rollout", "serving", "loadtests")
_ALONE = ("-q", "--no-header", "--assert=plain", "--hypothesis-profile=mirror", "--continue-on-collection-errors")


def core_modules() -> list[Path]:
    """Every module of a `core` package that holds code, relative to the root."""
    found = (path for package in PACKAGES for path in (ROOT / package).glob("**/core/**/*.py"))
    return sorted(path.relative_to(ROOT) for path in found if path.read_text(encoding="utf-8").strip())


def mirror_of(module: Path) -> Path:
    """The test file that stands for `module`."""
    return Path("tests") / module.parent / f"test_{module.name}"


class Contexts:
    """A plugin of pytest's: coverage goes by the file of the test that runs, and so do failures."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.failures: dict[str, str] = {}

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        self.pytest_runtest_logstart(collector.nodeid)  # what a test file runs when it is imported is its own, too

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._measured.switch_context(nodeid.partition("::")[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            self.failures.setdefault(report.nodeid.partition("::")[0], report.longreprtext[-2000:])


def shortfalls_of(modules: list[Path]) -> list[str]:
    """Run the mirror tests of `modules` under coverage; what is missing, by module.

    For a process that has imported none of them yet: what runs at import counts, whoever imports first.
    """
    measured = coverage.Coverage(data_file=None, branch=True, include=[str(module) for module in modules])
    contexts = Contexts(measured)
    mirrors = [str(mirror_of(module)) for module in modules if mirror_of(module).exists()]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), measured.collect():
        for module in modules:
            importlib.import_module(".".join(module.with_suffix("").parts).removesuffix(".__init__"))
        pytest.main([*_ALONE, *mirrors], plugins=[contexts])
    if not contexts.failures and " passed" not in output.getvalue():
        return [f"{mirrors}: {output.getvalue()[-2000:]}"]
    return [found for module in modules if (found := _judge(module, measured, contexts.failures))]


def _judge(module: Path, measured: coverage.Coverage, failures: dict[str, str]) -> str | None:
    mirror = mirror_of(module)
    if not mirror.exists():
        return f"{module}: there is no {mirror}"
    if str(mirror) in failures:
        return f"{module}: {mirror} fails\n{failures[str(mirror)]}"
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        own = ["^$", f"^{re.escape(str(mirror))}$"]
        try:
            measured.json_report(outfile=str(report), include=[str(module)], contexts=own)
        except coverage.CoverageException:
            return f"{module}: its mirror test never runs it"
        covered = json.loads(report.read_bytes())["files"][str(module)]
    if covered["missing_lines"] or covered["missing_branches"]:
        return f"{module}: lines {covered['missing_lines']}, branches {covered['missing_branches']} are not reached"
    return None


def shortfalls(modules: list[Path]) -> list[str]:
    """Check `modules`, in as many processes as there are processors."""
    shares = min(os.cpu_count() or 1, len(modules))
    # One share each: a process that has imported modules for another can't see them being imported.
    with multiprocessing.get_context("fork").Pool(shares, maxtasksperchild=1) as pool:
        found = pool.map(shortfalls_of, [modules[first::shares] for first in range(shares)], chunksize=1)
    return [each for share in found for each in share]


def main(arguments: list[str]) -> int:
    """Check the given core modules, or all."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    modules = [Path(argument) for argument in arguments] or core_modules()
    found = sorted(shortfalls(modules))
    sys.stdout.writelines(f"{each}\n" for each in found)
    sys.stdout.write(f"{len(modules) - len(found)} of {len(modules)} core modules are covered by their own tests\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
