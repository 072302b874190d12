"""The whole system as child processes: vLLMs, the simulator, Prometheus, the gateway. Stopped in reverse order."""

import asyncio
import re
import signal
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import httpx2

from loadtests.demo.board import PartState
from loadtests.demo.child import Child, Command
from loadtests.demo.death import context, explain
from loadtests.demo.errors import DemoError, ModelSpecError, PartFailedError, StateDirError
from loadtests.demo.folder import BOOTSTRAP_KEY, development_key
from loadtests.demo.layout import (
    ENGINES,
    HOST,
    INHOUSE,
    TRIALS,
    Folder,
    Ports,
    gateway_config,
    prometheus_config,
    trial_model,
)
from loadtests.demo.partner import KEY, SIMULATED_MODEL, Partner
from loadtests.demo.race import all_of
from loadtests.demo.status import Asked, status_arguments

PROMPTS: Final = 3_000
_PROMPTS_SEED: Final = 1
_LOG_LINES: Final = 15
_POLL_S: Final = 0.1
_READY_S: Final = dict.fromkeys(ENGINES.values(), 300.0) | {"simulator": 30.0, "prometheus": 60.0, "gateway": 30.0}
_STOP_S: Final = dict.fromkeys(ENGINES.values(), 30.0)
_STOP_DEFAULT_S: Final = 5.0
_OK: Final = 200
_UNAUTHORISED: Final = 401
# A gateway's settings may be overridden by the environment; those of a stack are its own.
_OVERRIDE: Final = re.compile(r"GLIDEPATH_\w+__\w+")


class Running(NamedTuple):
    """Where a stack can be reached. `engines`: each vLLM by its upstream."""

    gateway_url: str
    admin_url: str
    engines: Mapping[str, str]
    simulator_url: str
    prometheus_url: str | None
    api_key: str
    prompts: Path

    @property
    def vllm_url(self) -> str:
        """Return where the good checkpoint is."""
        return self.engines[INHOUSE]


class Stack:
    """Starts and stops the parts; `partner` plays the baseline.

    Run `watch` beside everything else: it raises when a part ends by itself.
    """

    def __init__(
        self,
        folder: Folder,
        ports: Ports,
        partner: Partner,
        model_specs: Mapping[str, Path],
        environment: Mapping[str, str],
        *,
        prometheus: str | None = None,
    ) -> None:
        """Prepare, without starting anything.

        `model_specs`: of the in-house models by upstream. `prometheus`: the path of its binary, None to do without.
        """
        self._folder, self._ports, self._model_specs = folder, ports, model_specs
        self.partner = partner
        self._prometheus = prometheus
        self._running: Running | None = None
        self._environment = {name: value for name, value in environment.items() if not _OVERRIDE.fullmatch(name)}
        self._environment["PYTHONUNBUFFERED"] = "1"
        self._began_s = time.perf_counter()
        self._services: list[Child] = []
        self._errands: dict[str, Child] = {}
        gates = ("prometheus",) if self.gated else ()
        engines = (ENGINES[upstream] for upstream in model_specs)
        names = ("environment", "prompts", *engines, "simulator", *gates, "gateway")
        self._states = {name: PartState(name, "waiting", 0.0) for name in names}
        self._began_part_s: dict[str, float] = {}

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since this stack was made."""
        return time.perf_counter() - self._began_s

    @property
    def states(self) -> tuple[PartState, ...]:
        """Return how far every part is."""
        return tuple(self._now(state) for state in self._states.values())

    @property
    def gated(self) -> bool:
        """Whether there is a Prometheus for gates to ask."""
        return self._prometheus is not None

    @property
    def inhouse(self) -> tuple[str, ...]:
        """Return the upstreams that are served here."""
        return tuple(self._model_specs)

    @property
    def running(self) -> Running:
        """Return where the stack can be reached. Raises DemoError before it has started."""
        if self._running is None:
            raise DemoError("the stack has not started", "wait for it")
        return self._running

    def log(self, part: str) -> Path:
        """Return the log of one part."""
        return self._folder.log(part)

    async def start(self) -> Running:
        """Start everything that can be at once. Raises DemoError."""
        models = {upstream: served_name(spec) for upstream, spec in self._model_specs.items()}
        try:
            key = development_key(self._folder, self._environment)
            text = gateway_config(self._folder, self._ports, models, self.partner, gated=self.gated)
            self._folder.config.write_text(text, encoding="utf-8")
            prometheus = [] if self._prometheus is None else [self._start_prometheus(self._prometheus)]
            await all_of(self._start_engines(), *prometheus, self._start_others(key))
        except OSError as error:
            cause = f"cannot write in {self._folder.root}: {error.strerror or error}"
            raise StateDirError(cause, "make room and see to its permissions, or choose another --state-dir") from None
        gateway, admin, simulator = map(self._ports.url, ("gateway", "admin", "simulator"))
        engines = {upstream: self._ports.url(ENGINES[upstream]) for upstream in models}
        prometheus_url = self._ports.url("prometheus") if self.gated else None
        self._running = Running(gateway, admin, engines, simulator, prometheus_url, key, self._folder.prompts)
        return self._running

    def ask_status(self, feature: str) -> Asked:
        """Run `glidepath rollout status` beside the stack; what still runs in the end is stopped with it."""
        running = self.running
        access = {"GLIDEPATH_ADMIN_URL": running.admin_url, "GLIDEPATH_API_KEY": running.api_key}
        name = f"status-{feature}"
        environment = self._without_partner_key() | access
        command = Command(name, status_arguments(feature), environment, signal.SIGKILL, _STOP_DEFAULT_S)
        child = self._errands[name] = Child(command, self._folder.log(name))
        return Asked(feature, child, time.perf_counter())

    async def watch(self) -> NoReturn:
        """Wait for a service to end although nobody stopped it, and raise why."""
        while True:
            for child in self._services:
                if child.exit_code is not None:
                    raise self._failed(child, child.exit_code)
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Stop everything, the last started first."""
        for child in (*self._errands.values(), *reversed(self._services)):
            await child.stop()

    async def _start_engines(self) -> None:
        await self._errand("environment", ("serving", "install"))
        await all_of(*(self._start_vllm(ENGINES[upstream], spec) for upstream, spec in self._model_specs.items()))

    async def _start_vllm(self, name: str, spec: Path) -> None:
        ready = self._folder.ready_file(name)
        ready.unlink(missing_ok=True)
        arguments = ("serving", "up", str(spec), "--port", str(getattr(self._ports, name)))
        files = ("--ready-file", str(ready), "--log-file", str(self._folder.log(f"{name}-engine")))
        # It has a model server of its own to end, so it is told, not killed.
        self._service(name, (*arguments, *files), death_signal=signal.SIGTERM)
        await self._until_ready(name, ready.exists)

    async def _start_others(self, key: str) -> None:
        prompts = ("serving", "demo-model", "prompts", "--count", str(PROMPTS), "--seed", str(_PROMPTS_SEED))
        await self._errand("prompts", (*prompts, "--out", str(self._folder.prompts)))
        await all_of(self._start_simulator(), self._start_gateway(key))

    async def _start_simulator(self) -> None:
        ready = self._folder.ready_file("simulator")
        ready.unlink(missing_ok=True)
        arguments = ("simulator", "--port", str(self._ports.simulator), "--ready-file", str(ready))
        names = (SIMULATED_MODEL, *map(trial_model, TRIALS.values()))
        models = (word for name in names for word in ("--model", name))
        self._service("simulator", (*arguments, *models, "--references", str(self._folder.prompts)))
        await self._until_ready("simulator", ready.exists)

    async def _start_prometheus(self, program: str) -> None:
        self._folder.prometheus_config.write_text(prometheus_config(self._ports), encoding="utf-8")
        arguments = (
            f"--config.file={self._folder.prometheus_config}",
            f"--storage.tsdb.path={self._folder.prometheus_data}",
            f"--web.listen-address={HOST}:{self._ports.prometheus}",
        )
        self._service("prometheus", arguments, program=program)
        await self._until_ready("prometheus", url=f"{self._ports.url('prometheus')}/-/ready")

    async def _start_gateway(self, key: str) -> None:
        more = {BOOTSTRAP_KEY: key}
        if KEY in self._environment:
            more[KEY] = self._environment[KEY]
        self._service("gateway", ("gateway", "--config", str(self._folder.config)), more)
        await self._until_ready("gateway", url=f"{self._ports.url('gateway')}/readyz")
        await self._check_key(key)

    async def _check_key(self, key: str) -> None:
        """See that the gateway knows the key: a store from another time may have others."""
        status = await _status(f"{self._ports.url('gateway')}/v1/models", key)
        if status == _UNAUTHORISED:
            cause = f"the store in {self._folder.root} does not know the key in {self._folder.key.name}"
            raise DemoError(cause, f"remove {self._folder.root} and start again")

    async def _errand(self, name: str, arguments: tuple[str, ...]) -> None:
        """Run something to its end. Raises PartFailedError."""
        child = self._errands[name] = self._launch(name, arguments, self._without_partner_key(), signal.SIGTERM)
        code = await child.ended()
        if code:
            raise self._failed(child, code)
        self._mark(name, "ready")

    def _service(
        self,
        name: str,
        arguments: tuple[str, ...],
        more: Mapping[str, str] | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        program: str | None = None,
    ) -> None:
        environment = self._without_partner_key() | dict(more or {})
        self._services.append(self._launch(name, arguments, environment, death_signal, program))

    def _launch(
        self,
        name: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        death_signal: signal.Signals,
        program: str | None = None,
    ) -> Child:
        command = Command(name, arguments, environment, death_signal, _STOP_S.get(name, _STOP_DEFAULT_S), program)
        child = Child(command, self._folder.log(name))
        self._mark(name, "starting")
        return child

    def _without_partner_key(self) -> dict[str, str]:
        """Give the environment of those who have no business with the partner's key or ours."""
        return {name: value for name, value in self._environment.items() if name not in {KEY, BOOTSTRAP_KEY}}

    async def _until_ready(self, name: str, ready: Callable[[], bool] | None = None, url: str = "") -> None:
        """Wait until the part says so by a file, or by 200 at `url`. Raises PartFailedError after its time."""
        try:
            async with asyncio.timeout(_READY_S[name]):
                while not (ready() if ready is not None else await _status(url) == _OK):  # noqa: ASYNC110  outside
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            child = next(each for each in self._services if each.name == name)
            cause = f"{name} was not ready after {_READY_S[name]:.0f} s"
            raise PartFailedError(cause, f"its whole log is {child.log}", child.tail(_LOG_LINES)) from None
        self._mark(name, "ready")

    def _failed(self, child: Child, code: int) -> PartFailedError:
        tail = child.tail(_LOG_LINES)
        self._mark(child.name, "failed")
        return PartFailedError(*explain(child.name, code, tail, str(child.log)), context(tail))

    def _mark(self, name: str, phase: str) -> None:
        now_s = time.perf_counter()
        began_s = self._began_part_s.setdefault(name, now_s)
        self._states[name] = PartState(name, phase, now_s - began_s)

    def _now(self, state: PartState) -> PartState:
        """Return a part's state with its time and last words while it starts."""
        if state.phase != "starting":
            return state
        child = self._errands.get(state.name) or next(each for each in self._services if each.name == state.name)
        detail = (child.tail(1) or [""])[0].strip()
        return state._replace(elapsed_s=time.perf_counter() - self._began_part_s[state.name], detail=detail)


def served_name(model_spec: Path) -> str:
    """Return the name under which vLLM will serve a spec's model. Raises ModelSpecError."""
    try:
        name = tomllib.loads(model_spec.read_text(encoding="utf-8")).get("served_name")
    except OSError as error:
        raise ModelSpecError(f"cannot read the model spec {model_spec}: {error.strerror}", "check --model") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelSpecError(f"the model spec {model_spec} is not valid TOML: {error}", "mend that line") from None
    if not isinstance(name, str) or not name:
        raise ModelSpecError(f"the model spec {model_spec} has no served_name", 'add served_name = "..."')
    return name


async def _status(url: str, key: str | None = None) -> int | None:
    """Return the status of a GET, None when nobody answers."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
            return (await client.get(url, headers=headers)).status_code
    except httpx2.RequestError:
        return None
