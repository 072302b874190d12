"""The metric source against a real Prometheus and a real exporter: each rule of a verdict, and each way to fail.

In an instant query the time of the answer is the server's time of evaluation; only `newest` shows the age of the data.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from rollout.adapters.clock import WallClock
from rollout.adapters.prometheus import PrometheusAccess, PrometheusSource
from rollout.core.promql import MetricQuery, since
from rollout.core.readings import Reading, ReadingKind

pytestmark = pytest.mark.system

DEADLINE_S = 60.0
CONFIG = """
global: {{scrape_interval: 100ms, scrape_timeout: 90ms}}
scrape_configs:
  - job_name: tiny
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
PASSWORD = "sesame"
BCRYPT = "$2b$04$Yhf1n1pUpN4QUQyUkDjFfuZd.r8nbXpy..A/8WLT9g.8LffHF18U2"


class Exporter:
    """A page of metrics that a test may change while Prometheus scrapes it."""

    def __init__(self) -> None:
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.scrapes += 1
                body = exporter.page().encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.scrapes = 0
        self.values: dict[str, float | str] = {"good": 0.25}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def page(self) -> str:
        return "".join(f"{name} {value}\n" for name, value in self.values.items())

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Prometheus:
    """One prometheus process on a free port, its data in a folder."""

    def __init__(self, folder: Path, exporter_port: int, *more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder, self._more = folder, more
        (folder / "prometheus.yml").write_text(CONFIG.format(port=exporter_port))
        self.start()

    def start(self) -> None:
        arguments = [
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--query.max-samples=10000",
            *self._more,
        ]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
        limit_s = time.monotonic() + DEADLINE_S
        while not self.ready():
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < limit_s, "prometheus did not start in time"
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/-/ready", trust_env=False, timeout=10).status_code in {200, 401}
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        shutil.rmtree(self._folder / "data")


@pytest.fixture(scope="module")
def binary() -> None:
    if shutil.which("prometheus") is None:
        message = "prometheus is missing: the metric source is NOT tried on a real one (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    page = Exporter()
    yield page
    page.stop()


@pytest.fixture(scope="module")
def shared(binary: None, exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path_factory.mktemp("shared"), exporter.port)
    yield server
    server.kill()


@pytest.fixture
def own(binary: None, exporter: Exporter, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus of the test's own, to be mistreated."""
    server = Prometheus(tmp_path, exporter.port)
    yield server
    server.kill()


@pytest.fixture
async def sources() -> AsyncIterator[Callable[..., PrometheusSource]]:
    opened: list[PrometheusSource] = []

    def make(server: Prometheus, limit_s: float = 20.0, access: PrometheusAccess | None = None) -> PrometheusSource:
        opened.append(PrometheusSource(server.url, WallClock(), limit_s=limit_s, access=access or PrometheusAccess()))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


@pytest.fixture
async def source(shared: Prometheus, sources: Callable[..., PrometheusSource]) -> PrometheusSource:
    return sources(shared)


async def reaches(source: PrometheusSource, query: MetricQuery, wanted: Callable[[Reading], object]) -> Reading:
    """Read until it is as wanted; scrapes take their time."""
    limit_s = time.monotonic() + DEADLINE_S
    while not wanted(reading := await source.read(query)):
        assert time.monotonic() < limit_s, reading
        await asyncio.sleep(0.05)
    return reading


def good(reading: Reading) -> bool:
    return reading.kind is ReadingKind.OK


def says(kind: ReadingKind, text: str) -> Callable[[Reading], bool]:
    return lambda reading: reading.kind is kind and text in reading.reason


async def test_a_scraped_value_is_read(source: PrometheusSource) -> None:
    before_s = time.time()
    reading = await reaches(source, MetricQuery("good"), good)
    assert reading.value == 0.25
    assert before_s - 1 <= (reading.at_s or 0) <= time.time() + 1


async def test_a_value_with_the_age_of_its_data_and_its_count(source: PrometheusSource) -> None:
    query = MetricQuery("avg(good)", 120.0, "max(timestamp(good))", "sum(count_over_time(good[1m]))")
    reading = await reaches(source, query, good)
    assert reading.value == 0.25
    assert (reading.samples or 0) >= 1
    assert (reading.at_s or 0) <= time.time() + 1


@pytest.mark.parametrize(
    ("expression", "kind", "told"),
    [
        ("godo", ReadingKind.NO_DATA, "no series matches"),
        ("sum(godo) / sum(good)", ReadingKind.NO_DATA, "no series matches"),
        ("good > 1", ReadingKind.NO_DATA, "no series matches"),
        ("(good - good) / (good - good)", ReadingKind.NO_DATA, "NaN"),
        ("vector(scalar(godo))", ReadingKind.NO_DATA, "NaN"),
        ("good / (good - good)", ReadingKind.ERROR, "'+Inf' is infinite"),
        ("-good / (good - good)", ReadingKind.ERROR, "'-Inf' is infinite"),
        ('{__name__=~"up|good"}', ReadingKind.ERROR, "2 series where one was asked for"),
        ("1", ReadingKind.ERROR, "the result is a scalar"),
        ("scalar(good)", ReadingKind.ERROR, "the result is a scalar"),
        ('"good"', ReadingKind.ERROR, "the result is a string"),
        ("good[1m]", ReadingKind.ERROR, "the result is a matrix"),
        ("sum(good", ReadingKind.ERROR, "HTTP 400: bad_data: invalid parameter"),
        ("rate(good)", ReadingKind.ERROR, "HTTP 400: bad_data"),
        ("vector(1)[1h:1ms]", ReadingKind.ERROR, "HTTP 422: execution: query processing would load too many samples"),
        ("label_replace({__name__=~'up|good'}, '__name__', 'x', '', '')", ReadingKind.ERROR, "HTTP 422: execution"),
    ],
)
async def test_what_is_no_single_number_is_no_value(
    source: PrometheusSource, expression: str, kind: ReadingKind, told: str
) -> None:
    await reaches(source, MetricQuery("good"), good)
    reading = await source.read(MetricQuery(expression))
    assert reading.kind is kind, reading
    assert told in reading.reason


async def test_exported_nan_and_infinity_are_no_values(source: PrometheusSource, exporter: Exporter) -> None:
    exporter.values |= {"strange": "NaN", "endless": "+Inf"}
    await reaches(source, MetricQuery("strange"), says(ReadingKind.NO_DATA, "NaN"))
    await reaches(source, MetricQuery("endless"), says(ReadingKind.ERROR, "infinite"))
    exporter.values["strange"] = 0.5
    await reaches(source, MetricQuery("strange"), good)


async def test_a_series_that_vanishes_is_no_data_though_its_window_still_has_a_value(
    source: PrometheusSource, exporter: Exporter
) -> None:
    """Why `newest` exists: the range still holds old samples, and the answer itself is always fresh."""
    exporter.values["fleeting"] = 7
    await reaches(source, MetricQuery("fleeting"), good)
    del exporter.values["fleeting"]
    await reaches(source, MetricQuery("fleeting"), says(ReadingKind.NO_DATA, "no series"))
    smooth = "avg_over_time(fleeting[10m])"
    newest = "max(max_over_time(timestamp(fleeting)[10m:100ms]))"
    assert (await source.read(MetricQuery(smooth))).value == 7
    strict = MetricQuery(smooth, max_age_s=0.5, newest=newest)
    await reaches(source, strict, says(ReadingKind.NO_DATA, "the newest sample is"))


async def test_a_sample_older_than_the_limit_is_no_data(source: PrometheusSource, exporter: Exporter) -> None:
    """An exporter may date its samples itself; Prometheus looks back by five minutes and calls the answer fresh."""
    exporter.values["dated"] = f"3 {int((time.time() - 30) * 1_000)}"
    query = MetricQuery("dated", 200, "timestamp(dated)")
    reading = await reaches(source, query, good)
    assert reading.value == 3
    assert time.time() - (reading.at_s or 0) >= 29
    strict = await source.read(MetricQuery("dated", 20, "timestamp(dated)"))
    assert strict.kind is ReadingKind.NO_DATA  # a server of 2.43 or later leaves the sample out by itself


async def test_only_samples_since_the_step_began_count(source: PrometheusSource, exporter: Exporter) -> None:
    exporter.values["moved"] = 100
    await reaches(source, MetricQuery("moved"), good)
    exporter.values["moved"] = 1
    await reaches(source, MetricQuery("moved"), lambda reading: reading.value == 1)
    began_s = time.time()
    query = MetricQuery("max_over_time(moved[$elapsed])")
    assert says(ReadingKind.ERROR, "HTTP 400")(await source.read(query))  # not filled in: refused, never half read
    assert (await source.read(since(query, 600))).value == 100
    while time.time() < began_s + 3.1:  # noqa: ASYNC110  time itself is what is waited for
        await asyncio.sleep(0.05)
    reading = await source.read(since(query, time.time() - began_s))
    assert reading.value == 1
    assert (reading.from_s or 0) >= began_s


async def test_a_query_that_takes_too_long_is_given_up(
    shared: Prometheus, sources: Callable[..., PrometheusSource]
) -> None:
    reading = await sources(shared, limit_s=0.005).read(MetricQuery("max_over_time(vector(time())[9000ms:1ms])"))
    assert reading.kind is ReadingKind.ERROR
    assert "within 0.005 s" in reading.reason or "HTTP 503: timeout" in reading.reason


async def test_a_stopped_prometheus_is_an_error_and_recovers(
    own: Prometheus, sources: Callable[..., PrometheusSource]
) -> None:
    source = sources(own, limit_s=1.0)
    await reaches(source, MetricQuery("good"), good)
    own.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        assert says(ReadingKind.ERROR, "within 1 s")(await source.read(MetricQuery("good")))
    own.process.send_signal(signal.SIGCONT)
    await reaches(source, MetricQuery("good"), good)


async def test_a_killed_prometheus_is_an_error_and_an_empty_one_has_no_data(
    own: Prometheus, exporter: Exporter, sources: Callable[..., PrometheusSource]
) -> None:
    exporter.values["gone"] = 1
    source = sources(own)
    await reaches(source, MetricQuery("gone"), good)
    own.kill()
    assert says(ReadingKind.ERROR, f"no answer from {own.url}")(await source.read(MetricQuery("gone")))
    own.forget()
    del exporter.values["gone"]
    own.start()
    assert says(ReadingKind.NO_DATA, "no series")(await source.read(MetricQuery("gone")))
    assert says(ReadingKind.NO_DATA, "no series")(await source.read(MetricQuery("max_over_time(gone[1h])")))
    await reaches(source, MetricQuery("good"), good)


async def test_a_password_from_a_file(
    binary: None, exporter: Exporter, tmp_path: Path, sources: Callable[..., PrometheusSource]
) -> None:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ann: '{BCRYPT}'}}\n")
    server = Prometheus(tmp_path, exporter.port, f"--web.config.file={tmp_path / 'web.yml'}")
    secret = tmp_path / "secret"
    secret.write_text("ann:wrong")
    source = sources(server, access=PrometheusAccess(basic_file=secret))
    assert says(ReadingKind.ERROR, "HTTP 401")(await source.read(MetricQuery("good")))
    assert says(ReadingKind.ERROR, "HTTP 401")(await sources(server).read(MetricQuery("good")))
    secret.write_text(f"ann:{PASSWORD}\n")
    await reaches(source, MetricQuery("good"), good)
    server.kill()
