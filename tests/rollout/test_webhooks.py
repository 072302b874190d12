"""The sender against real receivers: delivering, failing, hanging, redirecting, gone."""

# ruff: noqa: ASYNC240  these tests may block their own loop

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rollout.core.errors import InvalidArgument
from rollout.core.webhooks import Attempted, Event, RetryRules, make_event
from rollout.webhooks import Receiver, Webhooks

SECRET, OTHER = bytes(range(32)), bytes(range(32, 64))
AT_ONCE = RetryRules((0.0, 0.0, 0.0))
LATER = RetryRules((3_600.0,))
SETTLE_S = 20.0

Send = Callable[..., Webhooks]


def event(number: int = 1, kind: str = "rollout.set_share") -> Event:
    return make_event(kind, 1_000.0 + number, {"feature": "draft", "revision": number}, (number,))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n")
    return path


@pytest.fixture
async def send(clock: Any, secret_file: Path) -> AsyncIterator[Send]:
    """Start a sender to some URLs, named r0, r1, ..."""
    running: list[tuple[Webhooks, asyncio.Task[None]]] = []

    def start(*urls: str, kinds: frozenset[str] | None = None, **options: Any) -> Webhooks:
        receivers = [Receiver(f"r{number}", url, secret_file, kinds) for number, url in enumerate(urls)]
        hooks = Webhooks(receivers, clock, **{"rules": AT_ONCE} | options)
        running.append((hooks, asyncio.create_task(hooks.run())))
        return hooks

    yield start
    for hooks, task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await hooks.close()


def signature(secret: bytes, asked: Any) -> str:
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def counted(hooks: Webhooks, receiver: str = "r0") -> dict[str, int]:
    return {outcome.value: number for (name, outcome), number in hooks.counts.items() if name == receiver}


async def test_an_event_arrives_signed(web: Any, answer: Any, send: Send) -> None:
    server = await web(answer(204))
    hooks = send(f"{server.url}/hooks/T0K3N?team=a")
    hooks.publish(event())
    assert hooks.waiting == {"r0": 1}
    assert await hooks.settle(SETTLE_S)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/hooks/T0K3N?team=a")
    assert json.loads(asked.body)["data"] == {"feature": "draft", "revision": 1}
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["webhook-timestamp"] == "1000"
    assert asked.headers["webhook-signature"] == signature(SECRET, asked)
    assert (counted(hooks), hooks.waiting) == ({"delivered": 1}, {"r0": 0})


async def test_events_come_in_order_and_only_the_wanted_kinds(web: Any, answer: Any, send: Send) -> None:
    server = await web(answer(200))
    hooks = send(server.url, kinds=frozenset({"rollout.kill"}))
    for number in range(10):
        hooks.publish(event(number, "rollout.kill" if number % 2 else "rollout.set_share"))
    assert await hooks.settle(SETTLE_S)
    assert [json.loads(asked.body)["data"]["revision"] for asked in server.asked] == [1, 3, 5, 7, 9]


async def test_a_failed_attempt_is_repeated_with_the_same_id(web: Any, answer: Any, send: Send, clock: Any) -> None:
    answers = iter([answer(500), answer(404), b"nonsense\r\n\r\n", answer(200)])

    def reply(_: Any) -> bytes:
        clock.at_s += 60
        return next(answers)

    server = await web(reply)
    hooks = send(server.url)
    hooks.publish(event())
    assert await hooks.settle(SETTLE_S)
    assert counted(hooks) == {"failed": 3, "delivered": 1}
    assert len({asked.headers["webhook-id"] for asked in server.asked}) == 1
    assert len({asked.body for asked in server.asked}) == 1
    assert [asked.headers["webhook-timestamp"] for asked in server.asked] == ["1000", "1060", "1120", "1180"]
    assert all(asked.headers["webhook-signature"] == signature(SECRET, asked) for asked in server.asked)


async def test_after_the_last_attempt_it_is_given_up_loudly(
    web: Any, answer: Any, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    server = await web(answer(503))
    hooks = send(f"{server.url}/T0K3N")
    with caplog.at_level(logging.WARNING):
        hooks.publish(event())
        assert await hooks.settle(SETTLE_S)
    assert (len(server.asked), counted(hooks)) == (4, {"failed": 4, "given_up": 1})
    (loud,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert event().event_id in loud.getMessage()
    assert "4 attempts failed, the last with: HTTP 503" in loud.getMessage()
    assert "T0K3N" not in caplog.text


async def test_what_failed_waits_while_newer_events_pass(web: Any, answer: Any, send: Send, until: Any) -> None:
    def reply(asked: Any) -> bytes:
        return answer(500 if json.loads(asked.body)["data"]["revision"] == 1 else 200)

    server = await web(reply)
    hooks = send(server.url, rules=LATER)
    for number in (1, 2, 3):
        hooks.publish(event(number))
    await until(lambda: counted(hooks) == {"failed": 1, "delivered": 2})
    assert hooks.waiting == {"r0": 1}
    assert not await hooks.settle(0.01)


async def test_a_receiver_asks_for_more_time(web: Any, answer: Any, send: Send, until: Any, caplog: Any) -> None:
    server = await web(answer(429, b"", "retry-after: 700"))
    hooks = send(server.url)
    hooks.publish(event())
    await until(lambda: "next attempt in 700.0 s" in caplog.text)
    assert (counted(hooks), hooks.waiting, len(server.asked)) == ({"failed": 1}, {"r0": 1}, 1)


async def test_redirects_are_failures(web: Any, answer: Any, send: Send) -> None:
    elsewhere = await web(answer(200))
    for status in (301, 302, 303, 307, 308):
        server = await web(answer(status, b"", f"location: {elsewhere.url}/"))
        hooks = send(server.url, rules=RetryRules(()))
        hooks.publish(event())
        assert await hooks.settle(SETTLE_S)
        assert counted(hooks) == {"failed": 1, "given_up": 1}
    assert elsewhere.asked == []


async def test_a_receiver_that_is_gone_gets_nothing_more(web: Any, answer: Any, send: Send) -> None:
    server = await web(answer(410))
    hooks = send(server.url)
    for number in range(3):
        hooks.publish(event(number))
    assert await hooks.settle(SETTLE_S)
    hooks.publish(event(9))
    assert await hooks.settle(SETTLE_S)
    assert (len(server.asked), counted(hooks)) == (1, {"gone": 4})


async def test_a_receiver_that_hangs_delays_nobody_else(web: Any, answer: Any, send: Send, until: Any) -> None:
    hanging, good = await web(lambda _: None), await web(answer(200))
    hooks = send(hanging.url, good.url)
    for number in range(5):
        hooks.publish(event(number))
    await until(lambda: counted(hooks, "r1") == {"delivered": 5})
    assert hooks.waiting == {"r0": 5, "r1": 0}


async def test_a_receiver_that_hangs_or_drips_is_given_up(web: Any, send: Send, caplog: Any) -> None:
    for reply in (lambda _: None, b"HTTP/1.1 200"):
        server = await web(reply)
        hooks = send(server.url, limit_s=0.2, rules=RetryRules(()))
        hooks.publish(event())
        assert await hooks.settle(SETTLE_S)
        assert counted(hooks) == {"failed": 1, "given_up": 1}
    assert caplog.text.count("no answer within 0.2 s") == 2


async def test_the_answers_body_is_never_read(web: Any, answer: Any, send: Send) -> None:
    """Delivered by its head alone, though the body that it announces never comes."""
    server = await web(b"HTTP/1.1 200 X\r\ncontent-length: 1000000000\r\n\r\n")
    hooks = send(server.url)
    hooks.publish(event(1))
    hooks.publish(event(2))
    assert await hooks.settle(SETTLE_S)
    assert counted(hooks) == {"delivered": 2}


async def test_the_queue_is_bounded_and_drops_the_oldest_loudly(
    web: Any, answer: Any, send: Send, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    replies: list[bytes | None] = [None]
    server = await web(lambda _: replies[0])
    hooks = send(server.url, waiting_max=3, limit_s=1.0)
    hooks.publish(event(0))
    await until(lambda: server.asked)
    for number in range(1, 6):
        hooks.publish(event(number))
    assert (hooks.waiting, counted(hooks)) == ({"r0": 3}, {"dropped": 3})
    assert caplog.text.count("3 were waiting already") == 3
    replies[0] = answer(200)
    assert await hooks.settle(SETTLE_S)
    delivered = [json.loads(asked.body)["data"]["revision"] for asked in server.asked[1:]]
    assert sorted(delivered) == [0, 4, 5]


async def test_nobody_there_is_a_failure_that_does_not_show_the_address(
    web: Any, answer: Any, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    server = await web(answer(200))
    await server.stop()
    hooks = send(f"{server.url}/T0K3N", rules=RetryRules(()))
    hooks.publish(event())
    assert await hooks.settle(SETTLE_S)
    assert counted(hooks) == {"failed": 1, "given_up": 1}
    assert "T0K3N" not in caplog.text
    assert str(server.port) not in caplog.text


async def test_a_new_secret_is_in_force_at_once(web: Any, answer: Any, send: Send, secret_file: Path) -> None:
    server = await web(answer(200))
    hooks = send(server.url)
    secret_file.write_text("".join(f"whsec_{base64.b64encode(each).decode()}\n" for each in (OTHER, SECRET)))
    hooks.publish(event())
    assert await hooks.settle(SETTLE_S)
    (asked,) = server.asked
    assert asked.headers["webhook-signature"] == f"{signature(OTHER, asked)} {signature(SECRET, asked)}"


async def test_without_a_usable_secret_nothing_is_sent(
    web: Any, answer: Any, send: Send, secret_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await web(answer(200))
    for content in (None, "whsec_sesame\n"):
        secret_file.unlink() if content is None else secret_file.write_text(content)
        hooks = send(server.url, rules=RetryRules(()))
        hooks.publish(event())
        assert await hooks.settle(SETTLE_S)
        assert counted(hooks) == {"failed": 1, "given_up": 1}
    assert server.asked == []
    assert "sesame" not in caplog.text


async def test_data_that_is_no_json_ends_nothing(web: Any, answer: Any, send: Send) -> None:
    server = await web(answer(200))
    hooks = send(server.url)
    hooks.publish(make_event("rollout.odd", 1.0, {"x": object()}, ()))
    hooks.publish(event())
    assert await hooks.settle(SETTLE_S)
    assert counted(hooks) == {"failed": 4, "given_up": 1, "delivered": 1}


async def test_what_is_lost_at_the_end_is_said(
    web: Any, clock: Any, secret_file: Path, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await web(lambda _: None)
    hooks = Webhooks([Receiver("r0", server.url, secret_file)], clock)
    task = asyncio.create_task(hooks.run())
    hooks.publish(event(1))
    hooks.publish(event(2))
    await until(lambda: server.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await hooks.close()
    assert "webhook r0: 2 events are lost" in caplog.text
    assert hooks.counts == Counter()


async def test_without_receivers_there_is_nothing_to_do(clock: Any) -> None:
    hooks = Webhooks([], clock)
    hooks.publish(event())
    await hooks.run()
    assert await hooks.settle(SETTLE_S)
    assert (hooks.waiting, hooks.counts) == ({}, Counter())
    await hooks.close()
    await hooks.close()


@pytest.mark.parametrize(
    "url", ["", "ftp://h/", "//h/p", "http://", "https://ann:sesame@h/", "https://h/#x", "http://\0", "file:///etc"]
)
def test_an_address_that_cannot_be_meant_is_refused_unseen(clock: Any, url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Webhooks([Receiver("r", url, Path("x"))], clock)
    assert "sesame" not in refused.value.cause + refused.value.hint


def test_receivers_and_limits_that_cannot_be_meant_are_refused(clock: Any) -> None:
    receiver = Receiver("r", "https://h/", Path("x"))
    with pytest.raises(InvalidArgument, match="same name"):
        Webhooks([receiver, receiver], clock)
    for limits in ({"waiting_max": 0}, {"limit_s": 0.0}):
        with pytest.raises(InvalidArgument, match="room"):
            Webhooks([receiver], clock, **limits)


def test_outcomes_are_a_closed_set() -> None:
    assert {each.value for each in Attempted} == {"delivered", "failed", "given_up", "gone", "dropped"}


async def test_a_kind_that_there_is_not_is_refused_with_the_one_that_was_meant(send: Send) -> None:
    with pytest.raises(InvalidArgument, match=r"asks for 'rollout\.rollback'") as fault:
        send("https://hooks.example", kinds=frozenset({"rollout.rollback", "rollout.kill"}))
    assert fault.value.hint == "did you mean 'rollout.roll_back'?"
