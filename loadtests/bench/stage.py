"""What the measurements of one run share: where servers stand, who measures on which core, what was found."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from loadtests.bench import operating, servers, subjects
from loadtests.bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtests.bench.cores import Cores
    from loadtests.bench.figures import Answered, Figure, Held, Turn
    from loadtests.bench.plan import Plan
    from loadtests.bench.subjects import Place, Subject
    from loadtests.bench.workloads import Workload

_PLACE = re.compile(r"\S*/[^\s/]+/\S*|\S*//\S+")
_ESSENTIAL = (subjects.OURS, subjects.NGINX)


class Standing(NamedTuple):
    """A subject that runs, and the session of its processes."""

    subject: Subject
    session: int


class Skipped(NamedTuple):
    """What was not measured, and why."""

    what: str
    reason: str


def without_places(text: str) -> str:
    """Paths and addresses left out: what a run publishes doesn't tell on whose machine it was."""
    return _PLACE.sub("...", text)


class Stage:
    """Collects the figures of one run, by block. `makers`: how each subject is started at a place, by name."""

    def __init__(self, folder: Path, plan: Plan, cores: Cores, makers: dict[str, Callable[[Place], Subject]]) -> None:
        self.folder = folder
        self.plan = plan
        self.cores = cores
        self.makers = makers
        self.variants = {subjects.GATHERING: subjects.gathering}
        """Of this gateway, to be measured beside it where it matters."""
        self.figures: dict[str, list[Figure]] = {}
        self.answered: list[Answered] = []
        self.held: list[Held] = []
        self.turns: list[Turn] = []
        self.skipped: list[Skipped] = []
        self.form = "unknown"
        """Of the gateway's request path: compiled or interpreted."""

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def skip(self, what: str, reason: str) -> None:
        """Leave something out, loudly."""
        self.say(f"WITHOUT {what}: {reason}")
        skipped = Skipped(what, without_places(reason))
        if skipped not in self.skipped:
            self.skipped.append(skipped)

    @contextmanager
    def standing(self, name: str, upstream_port: int, cores: tuple[int, ...], workload: Workload) -> Iterator[Standing]:
        """One subject, running. Raises `BenchError`."""
        port, second = servers.free_ports(2)
        subject = (self.makers | self.variants)[name](subjects.Place(self.folder, upstream_port, port, second, cores))
        with servers.running(subject, self.folder, workload) as session:
            if subject.admin_port:
                operated = operating.begin_ramp if subject.rests_s else operating.split_traffic
                operated(subject.admin_port)
                self.form = servers.form(subject.admin_port)
            yield Standing(subject, session)

    @contextmanager
    def all_standing(
        self, upstream_port: int, workload: Workload, widths: list[tuple[int, ...]]
    ) -> Iterator[list[Standing]]:
        """Every subject on every given set of cores; a peer that doesn't start is left out. Raises `BenchError`."""
        with ExitStack() as stack:
            found = []
            for name in self.makers:
                for cores in widths:
                    try:
                        found.append(stack.enter_context(self.standing(name, upstream_port, cores, workload)))
                    except BenchError as error:
                        if name in _ESSENTIAL and len(cores) == 1:
                            raise
                        self.skip(_title(name, cores), f"{error.cause}: {error.hint}")
            yield found

    @contextmanager
    def upstream(self, workload: Workload) -> Iterator[Standing]:
        """The constant upstream, running, as the subject "direct"."""
        (port,) = servers.free_ports(1)
        server = servers.upstream(self.folder, workload, port, self.cores.upstream)
        with servers.running(server, self.folder, workload) as session:
            yield Standing(subjects.direct(port, self.cores.upstream), session)


def _title(name: str, cores: tuple[int, ...]) -> str:
    return name if len(cores) == 1 else f"{name} with {len(cores)} workers"
