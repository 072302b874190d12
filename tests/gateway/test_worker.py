"""How a worker begins: what it is told on its line, and what it says there when it can't start."""

import asyncio
import gc
import socket
from importlib.metadata import version

import msgspec
import pytest

from gateway import worker
from gateway.core import messages as say
from gateway.core.frames import frame
from gateway.settings import Settings, SettingsError
from gateway.start_error import StartError
from rollout.adapters import open_store


def configure(**changes: object) -> say.Configure:
    given = {
        "protocol": say.PROTOCOL,
        "build": version("glidepath"),
        "number": 1,
        "listeners": (),
        "settings": b"{}",
        "api_keys": {},
        "proxy_credentials": {},
        "judge_keys": {},
        "key_records": msgspec.msgpack.encode([]),
        "kills": (),
    }
    return say.Configure(**{**given, **changes})


@pytest.fixture
def line():
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        yield ours, theirs


def last_words(ours: socket.socket) -> say.Message:
    size = int.from_bytes(ours.recv(4, socket.MSG_WAITALL), "big")
    return say.decode(ours.recv(size, socket.MSG_WAITALL))


def test_the_configuration_comes_first_however_it_is_cut(line) -> None:
    ours, theirs = line
    told = configure(settings=b"x" * 50_000)
    data = frame(say.encode(told))
    ours.sendall(data[:3])
    ours.sendall(data[3:])
    assert worker._first_message(theirs) == told


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", frame(say.encode(say.Ready()))])
def test_a_supervisor_that_ended_first_wants_nothing(line, sent: bytes) -> None:
    ours, theirs = line
    ours.sendall(sent)
    ours.shutdown(socket.SHUT_WR)
    assert worker._first_message(theirs) is None


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"build": "0.0.1"}, f"this worker is version {version('glidepath')}, its supervisor 0.0.1"),
        ({"protocol": say.PROTOCOL + 1}, "its supervisor"),
        ({"settings": b'{"server":{"port":-1}}'}, "port"),
        ({"settings": b'{"store":{"url":"ftp://x"}}'}, "ftp"),
    ],
)
def test_why_it_cannot_start_is_told(line, changes: dict[str, object], cause: str) -> None:
    ours, theirs = line
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever it is, it is told
        worker._prepare(configure(**changes), theirs)
    said = last_words(ours)
    assert isinstance(said, say.Failed)
    assert cause in said.cause


async def test_a_start_that_fails_says_one_cause_and_nothing_else(line, tmp_path, caplog) -> None:
    """The line ends with it, as it does when the supervisor is gone; but there is nothing yet to drain."""
    ours, theirs = line
    judge = {"kind": "references", "file": str(tmp_path / "missing.jsonl")}
    settings = Settings.model_validate({"judges": {"sums": judge}, "store": {"state_dir": str(tmp_path)}})
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    stray: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: stray.append(context))
    try:
        with pytest.raises(SettingsError, match="missing"):
            await worker.Worker(configure(), settings, store, []).run(theirs.dup())
        await asyncio.sleep(0)
        gc.collect()
    finally:
        await store.close()
    said = last_words(ours)
    assert isinstance(said, say.Failed)
    assert "can't be read" in said.cause
    assert (stray, caplog.records) == ([], [])


def test_what_is_said_of_a_fault() -> None:
    assert worker._failed(StartError("cause", "hint")) == say.Failed("cause", "hint")
    assert worker._failed(SettingsError("cause", "hint")) == say.Failed("cause", "hint")
    assert worker._failed(ZeroDivisionError("a defect")) == say.Failed("ZeroDivisionError('a defect')", "")
