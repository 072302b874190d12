import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench import idle, idle_upstream, servers
from loadtests.bench.cores import Cores
from loadtests.bench.errors import BenchError
from loadtests.bench.plan import QUICK
from loadtests.bench.stage import Stage, Standing
from loadtests.bench.workloads import stream

CORE = min(os.sched_getaffinity(0))


@pytest.mark.parametrize(("wanted", "files", "streams"), [(10_000, 20_000, 9_872), (100, 20_000, 100), (5, 100, 0)])
def test_a_stream_takes_two_files_of_a_proxy(wanted: int, files: int, streams: int) -> None:
    assert idle.streams_possible(wanted, files) == streams


def test_an_event_is_one_http_chunk() -> None:
    size, _, rest = idle_upstream.event("word").partition(b"\r\n")
    assert rest.startswith(b'data: {"id"')
    assert rest.endswith(b"\n\n\r\n")
    assert int(size, 16) == len(rest) - 2


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Standing]:
    (port,) = servers.free_ports(1)
    subject = servers.own_upstream("quiet", port, CORE, 0.05)
    with servers.running(subject, tmp_path, stream()) as session:
        yield Standing(subject, session)


def test_streams_are_held_and_measured(tmp_path: Path, quiet: Standing) -> None:
    stage = Stage(tmp_path, QUICK._replace(idle_streams=300, hold_s=0.1, trickle_s=0.1), Cores((CORE,), CORE, CORE), {})
    idle.measure(stage, quiet, files_max=20_000)
    (held,) = stage.held
    assert (held.subject, held.streams, held.lost, held.hold_s) == ("quiet upstream", 300, 0, 0.1)
    assert held.before_bytes > 1_000_000
    assert held.held_bytes >= held.before_bytes


def test_streams_that_do_not_begin_are_an_error(tmp_path: Path, quiet: Standing) -> None:
    (nobody,) = servers.free_ports(1)
    stage = Stage(tmp_path, QUICK, Cores((CORE,), CORE, CORE), {})
    with pytest.raises(BenchError, match="did not begin 64 streams"):
        idle.measure(stage, Standing(quiet.subject._replace(port=nobody), quiet.session), files_max=20_000)
