"""A real gateway before a simulator that serves every upstream under a model name of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.system.traps.caller import DEADLINE_S, KEY, Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Upstream -> its kind, and what differs from the defaults. The lenient ones stay in use whatever they are made to do.
LENIENT = "retry = {enabled = false}\nbreaker = {consecutive_failures = 1000000, requests_min = 1000000}\n"
UPSTREAMS = {
    "inhouse": ("vllm", LENIENT),
    "partner": ("openai", LENIENT + "idle_timeout_s = 1\n"),
    "patient": ("openai", LENIENT),
    "claude": ("anthropic", LENIENT + "idle_timeout_s = 1\n"),
    "flaky": ("openai", "breaker = {consecutive_failures = 1000000, requests_min = 1000000}\n"),
    "strict": ("openai", "retry = {enabled = false}\n"),
    "narrow": ("openai", LENIENT + "connections_max = 2\n"),
    "priced": ("openai", LENIENT + "price = {input_usd = 0, output_usd = 1000}\n"),
}
LOGGED = '[observability]\naccess_log = "access.log"\n'
# Feature -> candidate and baseline; the share is 0 until a test moves it.
FEATURES = {
    "summarize": ("inhouse", "partner"),
    "patient": ("inhouse", "patient"),
    "claude": ("inhouse", "claude"),
    "vllm": ("partner", "inhouse"),
    "flaky": ("inhouse", "flaky"),
    "strict": ("inhouse", "strict"),
    "narrow": ("inhouse", "narrow"),
    "nowhere": ("inhouse", "nowhere"),
    "priced": ("inhouse", "priced"),
}


def config(simulator: str, more: str = "", workers: int = 2, server: str = "", *, backwards: bool = False) -> str:
    """The configuration's text; `more` are further sections."""
    upstreams = [
        f'[upstreams.{name}]\nkind = "{kind}"\nbase_urls = ["{simulator}/v1"]\nmodel = "{name}-sim"\n{rest}'
        for name, (kind, rest) in UPSTREAMS.items()
    ]
    upstreams.append(
        '[upstreams.nowhere]\nkind = "openai"\nbase_urls = ["http://127.0.0.1:9/v1"]\nmodel = "nowhere-sim"\n'
    )
    features = [
        f'[features.{name}]\ncandidate = "{candidate}"\nbaseline = "{baseline}"\n'
        for name, (candidate, baseline) in FEATURES.items()
    ]
    parts = [*upstreams, *features]
    head = f"[server]\nport = 0\nworkers = {workers}\n{server}[admin]\nport = 0\n{more}"
    return head + "".join(reversed(parts) if backwards else parts)


class Simulator:
    """The upstreams' side."""

    def __init__(self, url: str, control_url: str) -> None:
        self.url, self.control_url = url, control_url
        self._http = httpx2.Client(base_url=f"{control_url}/simulator", timeout=30)

    def close(self) -> None:
        self._http.close()

    def stats(self) -> dict[str, Any]:
        return self._http.get("/stats").json()

    def tally(self, request_id: str) -> dict[str, int]:
        """How often one request arrived, completed, was aborted or broken."""
        return self._http.get("/requests", params={"id": request_id}).json()["tallies"]

    def post(self, what: str, body: dict[str, Any] | None = None) -> None:
        answer = self._http.post(f"/{what}", json=body or {})
        assert answer.status_code == 200, answer.text

    def faults(self, *faults: dict[str, Any]) -> None:
        self.post("faults", {"faults": faults})


class World:
    """A gateway with its workers, and the simulator behind it."""

    def __init__(self, gateway: Any, simulator: Simulator, folder: Path) -> None:
        self.gateway, self.simulator, self.folder = gateway, simulator, folder
        self.url, self.admin_url = gateway.shown(r"gateway (http://\S+)/v1  operator (http://\S+)").groups()
        self._operator = httpx2.Client(
            base_url=f"{self.admin_url}/api/v1", headers={"authorization": f"Bearer {KEY}"}, timeout=30
        )
        self._admin = httpx2.Client(base_url=self.admin_url, timeout=30)
        self._public = httpx2.Client(base_url=self.url, timeout=30)
        self._names = 0

    def close(self) -> None:
        self._operator.close()
        self._admin.close()
        self._public.close()

    def line(self, key: str = KEY) -> Line:
        return Line(self.url, key)

    def page(self) -> str:
        return self._admin.get("/metrics").text

    def samples(self) -> dict[str, float]:
        """Metrics by name and labels."""
        lines = (line.rpartition(" ") for line in self.page().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def total(self, start: str, *parts: str) -> float:
        """Sum of the series that start so, and have all the parts."""
        found = self.samples().items()
        return sum(value for name, value in found if name.startswith(start) and all(part in name for part in parts))

    def at_rest(self) -> bool:
        """Nothing is held for anybody: no request, connection or place."""
        held = {
            name: value
            for name, value in self.samples().items()
            if name.startswith(("glidepath_requests_in_flight", "glidepath_queue_waiting"))
            or (name.startswith("glidepath_upstream_connections") and 'state="idle"' not in name)
        }
        assert held
        return not any(held.values()) and self.simulator.stats()["requests"]["in_flight"] == 0

    def set_share(self, feature: str, share_millipct: int) -> None:
        revision = self._operator.get(f"/features/{feature}").headers["etag"]
        body = {"share_millipct": share_millipct, "reason": "a trap"}
        answer = self._operator.put(f"/features/{feature}/share", json=body, headers={"if-match": revision})
        assert answer.status_code == 200, answer.text

    def operator(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the operator API answers to its admin."""
        answer = self._operator.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def make_key(self, **order: Any) -> str:
        """A new key, in force in all workers."""
        self._names += 1
        body = {"name": f"trap-{self._names}", "tenant": f"tenant-{self._names}", "reason": "a trap", **order}
        answer = self._operator.post("/keys", json=body)
        assert answer.status_code == 201, answer.text
        headers = {"authorization": f"Bearer {answer.json()['key']}", "connection": "close"}

        def known() -> bool:
            asked = (self._public.get("/v1/models", headers=headers) for _ in range(12))
            return all(each.status_code == 200 for each in asked)

        at_once(known)
        return answer.json()["key"]

    def workers(self) -> list[int]:
        """Process ids of the workers, oldest first."""
        pid = self.gateway.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]

    def sockets(self) -> int:
        """Open sockets of all workers."""
        fds = (fd for pid in self.workers() for fd in Path(f"/proc/{pid}/fd").iterdir())
        return sum(str(fd.readlink()).startswith("socket:") for fd in fds if fd.is_symlink())

    def configure(self, text: str) -> None:
        """Another configuration, put in force."""
        (self.folder / "glidepath.toml").write_text(text, "utf-8")
        self.gateway.process.send_signal(signal.SIGHUP)

    def access_log(self) -> dict[str, dict[str, Any]]:
        """Lines by request id; the last may be half written."""
        *lines, _ = (self.folder / "access.log").read_text("utf-8").split("\n")
        return {each["request_id"]: each for each in map(json.loads, lines)}

    async def logged(self, request_id: str) -> dict[str, Any]:
        """The line of one request, once it is written: that happens after it is counted, in another thread."""
        await until(lambda: request_id in self.access_log())
        return self.access_log()[request_id]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what other processes bring about."""
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  other processes have no event to set
            await asyncio.sleep(0.02)


def at_once(condition: Callable[[], object]) -> None:
    """As `until`, for tests without a loop."""
    limit_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.02)


def start_simulator(start: Callable[..., Any]) -> Simulator:
    models = [word for name in UPSTREAMS for word in ("--model", f"{name}-sim")]
    instant = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
    process = start("simulator", "--port", "0", "--control-port", "0", *models, *instant)
    url = process.shown(r"READY (http://\S+)/v1")[1]
    return Simulator(url, process.shown(r"CONTROL (http://\S+)")[1].removesuffix("/v1"))


def start_world(start: Callable[..., Any], folder: Path, simulator: Simulator, text: str | None = None) -> World:
    (folder / "glidepath.toml").write_text(text or config(simulator.url), "utf-8")
    gateway = start("gateway", "--config", "glidepath.toml", GLIDEPATH_BOOTSTRAP_KEY=KEY)
    return World(gateway, simulator, folder)


@pytest.fixture(scope="module")
def simulator(module_command: Callable[..., Any]) -> Iterator[Simulator]:
    with closing(start_simulator(module_command)) as started:
        yield started


@pytest.fixture(scope="module")
def world(module_command: Callable[..., Any], module_folder: Path, simulator: Simulator) -> Iterator[World]:
    """A gateway of two workers that the tests of one file share."""
    with closing(start_world(module_command, module_folder, simulator, config(simulator.url, LOGGED))) as started:
        yield started


@pytest.fixture
def own_world(command: Callable[..., Any], tmp_path: Path, simulator: Simulator) -> Iterator[Callable[..., World]]:
    """Start a gateway of the test's own before the shared simulator: `own_world(more, workers, server)`."""
    with ExitStack() as worlds:

        def start(more: str = LOGGED, workers: int = 2, server: str = "") -> World:
            text = config(simulator.url, more, workers, server)
            return worlds.enter_context(closing(start_world(command, tmp_path, simulator, text)))

        yield start
