"""Runs locust headless as a process of its own and brings back the report it leaves."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from loadtests.caller import Caller
from loadtests.errors import InvalidFileError, KeyRefusedError, LoadRunFailedError, LocustMissingError
from loadtests.prompts import read_prompts
from loadtests.report import Report
from loadtests.scenario import Scenario, read_scenario
from loadtests.workload import requests_of

_HERE: Final = Path(__file__).parent
_SCENARIOS: Final = _HERE / "scenarios"
_LOG_LINES: Final = 5
# Beyond the scenario and its slowest answer: start-up and writing the report.
_GRACE_S: Final = 60.0
_PROBE_S: Final = 5.0
_INSTALL: Final = "`make setup-dev` in a clone installs it; elsewhere, locust beside glidepath"


def shipped(name: str) -> Path:
    """Return the scenario file called `name`: a path, or one of the shipped scenarios by its stem."""
    path = Path(name)
    if path.is_file():
        return path
    known = {found.stem: found for found in sorted(_SCENARIOS.glob("*.toml"))}
    if name in known:
        return known[name]
    raise InvalidFileError(f"no scenario {name!r}", f"give a TOML file or one of: {', '.join(known)}")


def run_scenario(
    path: Path, base_url: str, api_key: str | None, prompts: Path | None = None, report_path: Path | None = None
) -> Report:
    """Run one scenario against `base_url` and return its judged report; from the main thread only (signals).

    Raises InvalidFileError for a bad scenario or prompts file, LocustMissingError without the load generator,
    KeyRefusedError when the gateway doesn't take the key, and LoadRunFailedError when no report is left.
    """
    if importlib.util.find_spec("locust") is None:
        raise LocustMissingError("the load generator locust isn't installed", _INSTALL)
    scenario = read_scenario(path)
    _refuse_early(scenario, base_url, prompts)
    _refuse_key(scenario, base_url, api_key or os.environ.get("GLIDEPATH_API_KEY"))
    with tempfile.TemporaryDirectory(prefix="glidepath-load-") as folder:
        kept = report_path or Path(folder, "report.json")
        kept.unlink(missing_ok=True)
        environment = os.environ | {
            "GLIDEPATH_LOAD_SCENARIO": str(path.resolve()),
            "GLIDEPATH_LOAD_BASE_URL": base_url,
            "GLIDEPATH_LOAD_REPORT": str(kept.resolve()),
        }
        if prompts is not None:
            environment["GLIDEPATH_LOAD_PROMPTS"] = str(prompts.resolve())
        if api_key is not None:
            environment["GLIDEPATH_API_KEY"] = api_key
        _run_locust(environment, scenario, Path(folder, "locust.log"))
        return _read_report(kept, Path(folder, "locust.log"))


def _refuse_early(scenario: Scenario, base_url: str, prompts: Path | None) -> None:
    """Raise what would otherwise fail inside the load generator, as a traceback in its log."""
    requests_of(0, read_prompts(prompts or Path(scenario.prompts)), scenario.mix, scenario.seed)
    Caller(base_url, None, scenario.timeout_s)


def _refuse_key(scenario: Scenario, base_url: str, api_key: str | None) -> None:
    """Raise what every single request would be answered."""
    caller = Caller(base_url, api_key, min(scenario.timeout_s, _PROBE_S))
    try:
        if caller.takes_key():
            return
    finally:
        caller.close()
    cause = f"{base_url} takes no requests {'with this key' if api_key else 'without a key'} (401)"
    raise KeyRefusedError(cause, "set GLIDEPATH_API_KEY, or --api-key, to a key of that gateway")


def _run_locust(environment: dict[str, str], scenario: Scenario, log: Path) -> None:
    """Run the process to its end; SIGTERM and SIGINT to us end it too, so that no orphan is left."""
    argv = [sys.executable, "-m", "locust", "-f", str(_HERE / "locustfile.py"), "--headless", "--only-summary"]
    with log.open("wb") as output, _forwarding() as forward_to:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.STDOUT)
        forward_to(process)
        try:
            process.wait(timeout=scenario.duration_s + scenario.timeout_s + _GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hint = "see whether the machine is overloaded"
            raise LoadRunFailedError("the load generator did not end in time", hint) from None


@contextmanager
def _forwarding() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Pass SIGTERM and SIGINT on to a process, also those that came before it was there."""
    early: list[int] = []
    target: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        if target:
            target[0].send_signal(number)
        else:
            early.append(number)

    def forward_to(process: subprocess.Popen[bytes]) -> None:
        target.append(process)
        for number in early:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield forward_to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_report(path: Path, log: Path) -> Report:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        tail = " | ".join(log.read_text(encoding="utf-8", errors="replace").split("\n")[-_LOG_LINES:])
        raise LoadRunFailedError("the load generator left no report", f"its last lines: {tail}") from None
