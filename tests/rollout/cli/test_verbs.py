"""The commands against a real server, as an operator runs them."""

import asyncio
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.core.audit import record_change
from rollout.core.errors import InvalidArgument, RolloutError
from rollout.core.gates import Result, Verdict
from rollout.core.ramp_model import Phase, Progress, RampPlan, Step
from tests.rollout import terminal
from tests.rollout.admin_port import open_port, operator_api
from tests.rollout.terminal import Cli

KEY = "viewer,operator:ann"


def requests(request_id: str) -> Any:
    """Where requests went, as the gateway's part of the API tells it."""
    if request_id not in {"req_1", "a/b+c"}:
        unknown = {"type": "u", "title": "t", "status": 404, "detail": "no such request", "hint": "known since 1970"}
        return JSONResponse(unknown, 404)
    steps = [{"check": "arm", "found": "where it went"}]
    request = {"record": {"at_s": 1.0, "outcome": "ok"}, "steps": steps}
    return {"request_id": request_id, "requests": [request], "store": "ok"}


@asynccontextmanager
async def gateway(path: Path) -> AsyncIterator[APIRouter]:
    async with operator_api(path) as served:
        served.get("/requests")(requests)
        yield served


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_port(gateway(tmp_path)) as address:
        yield address


run = partial(terminal.run, "rollout")


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli("rollout", url, KEY, capsys)


@pytest.fixture(scope="module")
def calm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with open_port(gateway(tmp_path_factory.mktemp("calm"))) as address:
        yield address


@pytest.fixture
def calm(calm_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    """At a gateway of the whole file, for what changes nothing."""
    return Cli("rollout", calm_url, KEY, capsys)


def test_get_shows_all_features_or_one(calm: Cli) -> None:
    assert [flag["feature"] for flag in calm.json("get")["features"]] == ["draft", "summarize"]
    assert calm.json("get", "summarize")["revision"] == 1
    shown = calm.text("get")
    assert "draft" in shown
    assert "inhouse" in shown
    one = calm.text("get", "summarize")
    assert one.startswith("store ok\n")
    assert "draft" not in one


def test_set_share_moves_the_share(cli: Cli) -> None:
    assert "share 12.5% (in force 12.5%), revision 2" in cli.text("set-share", "summarize", "12.5%", "--reason", "r")
    assert cli.json("set-share", "summarize", "0.001%", "--reason", "r")["share_millipct"] == 1
    assert cli.json("get", "summarize")["share"] == "0.001%"


def test_set_share_can_be_pinned_to_a_revision(cli: Cli) -> None:
    cli.text("set-share", "summarize", "1%", "--reason", "r", "--revision", "1")
    fault = cli.fault("set-share", "summarize", "2%", "--reason", "r", "--revision", "1")
    assert fault.exit_code == 3
    assert "now at revision 2 with 1%" in fault.hint


def test_history_shows_text_as_it_was_written(cli: Cli) -> None:
    cli.text("set-share", "summarize", "5%", "--reason", "[red]ü")
    shown = cli.text("history", "summarize")
    assert "[red]ü" in shown
    assert "set-share" in shown
    assert "ann" in shown
    page = cli.json("history", "summarize", "--limit", "1")
    assert cli.json("history", "summarize", "--before", str(page["before"]))["entries"][0]["command"] == "create"


def test_cost_shows_both_arms(calm: Cli) -> None:
    shown = calm.text("cost", "draft")
    assert "inhouse" in shown
    assert "no ramp has begun" in shown
    assert calm.json("cost", "draft")["saved"] is None
    assert calm.fault("cost", "nobody").exit_code == 4


def test_explain_shows_the_steps(calm: Cli) -> None:
    body = calm.json("explain", "summarize", "--user", "user-1")
    assert body["unit_kind"] == "user"
    shown = calm.text("explain", "summarize", "--conversation", "c", "--tenant", "t")
    assert "split" in shown
    assert "bucketBy conversation" in shown
    assert calm.json("explain", "summarize", "--attribute", "plan=pro")["reason"] == "NO_UNIT"
    assert calm.json("explain", "summarize")["reason"] == "NO_UNIT"


def test_explain_takes_a_request_that_is_no_feature(calm: Cli) -> None:
    assert calm.json("explain", "req_1")["requests"][0]["record"]["outcome"] == "ok"
    assert "where it went" in calm.text("explain", "a/b+c")
    for arguments in (("explain", "req_2"), ("explain", "x y"), ("explain", "req_1", "--user", "u")):
        assert calm.fault(*arguments).exit_code == 4


def test_every_answer_can_be_yaml(cli: Cli) -> None:
    assert yaml.safe_load(cli.text("get", "-o", "yaml"))["features"][0]["feature"] == "draft"
    assert yaml.safe_load(cli.text("set-share", "draft", "5%", "--reason", "r", "-o", "yaml"))["share"] == "5%"
    assert yaml.safe_load(cli.text("history", "draft", "-o", "yaml"))["entries"][0]["verdicts"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--for", "share:5%"), 0, "share:5% is reached"),
        (("--for", "share:6%"), 7, "share:6% is not reached yet"),
        (("--for", "share:6%", "--timeout", "1s"), 7, "share:6% is not reached yet"),
    ],
)
def test_status_of_a_share(
    cli: Cli, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    cli.text("set-share", "draft", "5%", "--reason", "r")
    assert cli.code("status", "draft", *arguments) == code
    out, err = capsys.readouterr()
    assert out == f"draft: share 5% (in force 5%), revision 2; {said}\n"
    assert ("share 5%" in err) is ("--timeout" in arguments)
    assert cli.code("status", "draft", *arguments, "--json") == code
    shown = json.loads(capsys.readouterr().out)
    assert (shown["goal"], shown["flag"]["share"]) == (arguments[1], "5%")


PLAN = RampPlan(steps=(Step(share=5_000, bake="10m"), Step(share=50_000)))
FAILED = Verdict("errors", Result.FAIL, "too many", 1.0, value=0.5, limit=0.02)


def put_ramp(path: Path, **progress: Any) -> None:
    """Bring a ramp of `summarize` to where `progress` says, as a controller would."""

    async def write() -> None:
        store = open_store(f"sqlite:///{path / 'store.db'}")
        before = await store.get("summarize")
        assert before is not None
        now_s = time.time()
        begun = Progress(**{"step": 0, "step_began_s": now_s, **progress})
        after = replace(before, ramp=PLAN, share_millipct=5_000, progress=begun)
        entry = record_change(
            before, after, actor="controller", command="step", reason="r", at_s=now_s, verdicts=(FAILED,)
        )
        await store.put_if_revision(after, before.revision, entry)
        await store.close()

    asyncio.run(write())


@pytest.mark.parametrize(
    ("progress", "code", "said"),
    [
        ({"phase": Phase.RUNNING}, 7, "RUNNING step 0 of 0..1; completed is not reached yet"),
        ({"phase": Phase.COMPLETED, "step": 1}, 0, "COMPLETED step 1 of 0..1; completed is reached"),
        ({"phase": Phase.ROLLED_BACK}, 1, "ROLLED_BACK step 0 of 0..1; completed will not be reached"),
        ({"phase": Phase.PAUSED}, 6, "PAUSED step 0 of 0..1; paused before completed"),
    ],
)
def test_status_tells_scripts_how_a_ramp_stands(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: dict[str, Any], code: int, said: str
) -> None:
    cli.text("get")
    put_ramp(tmp_path, **progress)
    assert cli.code("status", "summarize") == code
    assert capsys.readouterr().out.splitlines()[0].endswith(said)


class Told(io.StringIO):
    """An error output whose first line is followed by `then`."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self.then: Callable[[], object] | None = then

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return written


def test_status_waits_for_a_ramp(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.text("get")
    put_ramp(tmp_path, phase=Phase.RUNNING)
    told = Told(lambda: put_ramp(tmp_path, phase=Phase.MONITORING, step=1))
    monkeypatch.setattr(sys, "stderr", told)
    out = cli.text("status", "summarize", "--timeout", "60s", "--for", "step:1")
    assert "MONITORING step 1 of 0..1; step:1 is reached" in out
    assert re.search(r"RUNNING step 0 of 0..1; baking: [0-9.]+ s of 10 min", told.getvalue())


def test_a_ramp_is_shown_with_what_holds_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cli.text("get")
    put_ramp(tmp_path, phase=Phase.RUNNING)
    shown = cli.text("get", "summarize")
    assert "summarize  RUNNING  0 of 0..1  5%     5%        50%   2" in shown
    assert "  - baking: " in shown
    (hold,) = cli.json("get", "summarize")["ramp_state"]["holds"]
    assert (hold["reason"], hold["limit"]) == ("baking", 600.0)
    assert "errors FAIL" in cli.text("history", "summarize")
    assert cli.json("history", "summarize")["entries"][0]["verdicts"][0]["reason"] == "too many"


def test_status_of_a_kill_says_why(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli.text("kill", "draft", "--reason", "errors")
    assert cli.code("status", "draft", "--for", "share:5%") == 1
    assert capsys.readouterr().out.splitlines()[1] == "  - killed: by ann: errors"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get", "sumarize"), 4),
        (("kill", "sumarize", "--reason", "r"), 4),
        (("set-share", "summarize", "0.25", "--reason", "r"), 2),
        (("set-share", "summarize", "25%", "--reason", " "), 2),
        (("set-share", "summarize", "25%", "--reason", "caf\udce9"), 2),
        (("kill", "summarize", "--reason", "caf\udce9"), 2),
        (("unkill", "summarize", "--reason", "caf\udce9"), 2),
        (("explain", "summarize", "--user", "caf\udce9"), 2),
        (("history", "summarize", "--before", "99999999999999999999999"), 2),
        (("get", "caf\udce9"), 2),
        (("get", "a/b"), 2),
        (("history", "summarize", "--limit", "0"), 2),
        (("status", "sumarize"), 4),
        (("status", "summarize"), 2),
        (("status", "summarize", "--for", "shares:5%"), 2),
        (("status", "summarize", "--timeout", "soon"), 2),
        (("explain", "summarize", "--attribute", "plan"), 2),
        (("explain", "summarize", "--attribute", "tenant=a"), 2),
    ],
)
def test_exit_codes(calm: Cli, arguments: tuple[str, ...], code: int) -> None:
    fault = calm.fault(*arguments)
    assert fault.exit_code == code
    assert fault.hint


@pytest.mark.parametrize(
    "arguments", [(), ("get", "-o", "xml"), ("kill", "summarize"), ("set-share", "summarize", "--reason", "r")]
)
def test_usage_errors_are_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_an_unknown_key_and_an_unreachable_address_are_5(url: str) -> None:
    with pytest.raises(RolloutError, match="not known") as fault:
        run("get", "--admin-url", url, "--api-key", "wrong")
    assert (fault.value.exit_code, "GLIDEPATH_API_KEY" in fault.value.hint) == (5, True)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(RolloutError, match="no answer from") as fault:
        run("get", "--admin-url", address)
    assert fault.value.exit_code == 5


def test_the_key_comes_from_the_nearest_place(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIDEPATH_ADMIN_URL", url)
    with pytest.raises(RolloutError):
        run("get")
    (tmp_path / "glidepath-data").mkdir()
    (tmp_path / "glidepath-data" / "dev-key").write_text(f"{KEY}\n")
    assert run("get") == 0
    (tmp_path / "other").write_text("wrong")
    monkeypatch.setenv("GLIDEPATH_KEY_FILE", str(tmp_path / "other"))
    with pytest.raises(RolloutError):
        run("get")
    monkeypatch.setenv("GLIDEPATH_API_KEY", KEY)
    assert run("get") == 0
    monkeypatch.delenv("GLIDEPATH_API_KEY")
    monkeypatch.setenv("GLIDEPATH_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidArgument, match="key file"):
        run("get")


_PROGRAM = """
import argparse, sys
from rollout.cli.verbs import add_commands
parser = argparse.ArgumentParser()
add_commands(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
sys.exit(args.run(args))
"""


@pytest.mark.system
@pytest.mark.parametrize("place", ["lines", "documents", "file", "terminal"])
def test_watch_shows_changes_until_interrupted(cli: Cli, place: str) -> None:
    ours, theirs = pty.openpty() if place == "terminal" else os.pipe()
    output = {"lines": "json", "documents": "yaml"}.get(place, "table")
    command = [sys.executable, "-c", _PROGRAM, "rollout", "get", "--watch", "-o", output]
    command += ["--admin-url", cli.url, "--api-key", KEY]
    watching = subprocess.Popen(command, stdout=theirs, env={**os.environ, "COLUMNS": "120", "TERM": "xterm"})
    os.close(theirs)
    assert "77.7%" not in read_until(ours, "summarize")
    cli.text("set-share", "summarize", "77.7%", "--reason", "r")
    read_until(ours, "77.7%")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 0
    os.close(ours)


def read_until(descriptor: int, text: str) -> str:
    """Read on until the text was seen, for a bounded time."""
    seen, deadline_s = "", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < deadline_s, f"{text!r} was not shown: {seen!r}"
        if select.select([descriptor], [], [], 0.2)[0]:
            seen += os.read(descriptor, 65_536).decode()
    return seen


class TestStrangers:
    """Addresses where something else answers."""

    bodies: ClassVar[dict[str, str]] = {"html": "<html>", "list": "[]", "other": '{"error": "x"}'}

    @pytest.mark.parametrize(
        ("kind", "status", "hint"),
        [(kind, "404 Not Found", "is this the admin address of a gateway?") for kind in bodies]
        + [("html", "500 Internal Server Error", "look in the gateway's log")],
    )
    def test_something_else_on_the_port_is_told_from_a_refusal(self, kind: str, status: str, hint: str) -> None:
        body = self.bodies[kind].encode()
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        answer = head.encode() + body
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self.answer_once, args=(listener, answer))
            thread.start()
            with pytest.raises(RolloutError, match="not as the operator API does") as fault:
                run("get", "--admin-url", f"http://127.0.0.1:{listener.getsockname()[1]}")
            thread.join(10)
        assert fault.value.exit_code == 5
        assert fault.value.hint.startswith(hint)

    @staticmethod
    def answer_once(listener: socket.socket, answer: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    @pytest.mark.parametrize("address", ["http://[", "nowhere", "ftp://x", "http://127.0.0.1:99999"])
    def test_an_address_that_is_none_is_a_fault(self, address: str) -> None:
        with pytest.raises(RolloutError) as fault:
            run("get", "--admin-url", address)
        assert fault.value.exit_code in {2, 5}

    def test_a_key_that_is_no_header_is_a_fault(self) -> None:
        with pytest.raises(RolloutError) as fault:
            run("get", "--api-key", "ключ\n")
        assert fault.value.exit_code in {2, 5}
