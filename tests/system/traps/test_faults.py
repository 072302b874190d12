"""What upstreams do wrong, and what callers and the operator see of it: traps 3, 4, 5, 12 and 14."""

import asyncio
import json
import random

import pytest

from tests.system.traps.caller import Answer, Line, chat, fault, over_lines
from tests.system.traps.conftest import World, until

pytestmark = pytest.mark.system

SECRETS = ("sk-simulated", "10.1.2.3")
TIGHT = {"x-glidepath-first-byte-timeout-s": "0.4"}


def states(world: World, state: str) -> float:
    return world.total("glidepath_endpoint_state", 'upstream="strict"', f'state="{state}"')


async def test_03_bad_requests_and_limits_leave_the_breaker_closed_and_failures_open_it(world: World) -> None:
    bad = [
        fault("status", status=400),
        fault("status", status=422),
        fault("status", status=413),
        fault("status", status=429),
        fault("status", status=429, retry_after_s=3),
        fault("context_overflow"),
        fault("content_refused"),
        "[[fault:no such fault]]",
    ]

    async def ask(line: Line, number: int) -> int:
        return (await line.ask(chat(f"{bad[number % len(bad)]} {number}", "strict", stream=number % 3 == 0))).status

    statuses = await over_lines(world.url, range(160), ask, lines=8)
    assert set(statuses) <= {400, 413, 422, 429}
    assert states(world, "healthy") == len(world.workers())

    async def fail(line: Line, number: int) -> Answer:
        return await line.ask(chat(f"{fault('status', status=500)} {number}", "strict"))

    answers = await over_lines(world.url, range(60), fail, lines=8)
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert {answer.error["code"] for answer in refused} == {"upstream_unreachable"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)

    async def recovered() -> bool:
        async def plain(line: Line, number: int) -> int:
            return (await line.ask(chat(f"again {number}", "strict"))).status

        return set(await over_lines(world.url, range(12), plain, lines=6)) == {200}

    async with asyncio.timeout(60):
        while not (await recovered() and states(world, "healthy") == len(world.workers())):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


# What a stream comes to: outcome, and whether it is told in-band that it broke.
STREAM_ENDS = {
    "cut_stream": ("truncated", True),
    "reset_in_body": ("truncated", True),
    "bad_chunk": ("truncated", True),
    "clean_cut": ("truncated", True),
    "stall": ("timeout", True),
    "error_event": ("upstream_error", True),
    "bad_event": ("truncated", True),
    "missing_done": ("ok", False),
    "missing_finish": ("ok", False),
    "unterminated": ("ok", False),
}


@pytest.mark.parametrize("feature", ["summarize", "vllm", "claude"])
@pytest.mark.parametrize("kind", [*STREAM_ENDS])
async def test_04_a_cut_stream_is_never_a_clean_success(world: World, kind: str, feature: str) -> None:
    outcome, told = STREAM_ENDS[kind]
    if (kind, feature) == ("bad_event", "claude"):
        outcome = "upstream_error"  # what can't be translated is noticed where it comes
    if feature == "vllm" and kind == "stall":
        pytest.skip("this upstream waits a minute")
    before = world.total("glidepath_requests_total", f'feature="{feature}"', f'outcome="{outcome}"')
    request_id = f"cut-{kind}-{feature}"
    line = world.line()
    answer = await line.ask(
        chat(fault(kind) + "[[tokens:30]]", feature, stream=True, max_tokens=400), {"x-request-id": request_id}
    )
    line.close()
    if kind == "bad_chunk" and answer.status == 502:  # it came in one read with the first events
        return
    assert answer.status == 200
    if feature == "claude" and kind.startswith("missing"):
        assert answer.done or answer.in_band_error
        return
    assert (answer.in_band_error is not None) is told, answer.events[-2:]
    if told:
        assert set(answer.in_band_error) == {"message", "type", "param", "code"}
        assert not answer.done
    await until(
        lambda: world.total("glidepath_requests_total", f'feature="{feature}"', f'outcome="{outcome}"') == before + 1
    )
    assert (await world.logged(request_id))["outcome"] == outcome


@pytest.mark.parametrize("kind", ["cut_stream", "reset_in_body", "bad_chunk", "wrong_length", "conflicting_length"])
async def test_04_half_an_answer_is_an_error(world: World, kind: str) -> None:
    line = world.line()
    answer = await line.ask(chat(fault(kind) + "[[tokens:30]]"))
    line.close()
    assert (answer.status, answer.error["code"]) == (502, "upstream_broke")


async def test_05_a_switch_never_doubles_text(world: World) -> None:
    world.set_share("summarize", 100_000)
    try:
        await until(lambda: world.samples()["glidepath_snapshot_version"] >= 1)
        line = world.line()
        only = {"model": "inhouse-sim"}
        text = "[[say:one two three four five six]]"
        for kind in ("cut_stream", "reset_in_body", "clean_cut"):
            request_id = f"doubled-{kind}"
            body = chat(fault(kind, events=4, **only) + text, stream=True)
            answer = await line.ask(body, {"x-request-id": request_id})
            while answer.headers["x-glidepath-assigned"] != "candidate":  # a worker may not know the share yet
                answer = await line.ask(body, {"x-request-id": request_id})
            assert answer.in_band_error
            assert "one two three four five six".startswith(answer.text.strip())
            assert answer.headers["x-glidepath-attempts"] == "1"
        for kind in ("reset", "close", "garbage", "cut_in_head", "huge_head"):
            answer = await line.ask(chat(fault(kind, **only) + text, stream=True), {"x-request-id": f"switched-{kind}"})
            assert (answer.text.strip(), answer.done) == ("one two three four five six", True)
            assert (answer.headers["x-glidepath-arm"], answer.headers["x-glidepath-attempts"]) == ("baseline", "2")
        line.close()
    finally:
        world.set_share("summarize", 0)


@pytest.mark.parametrize("wait_s", [None, 7])
async def test_05_a_429_stays_a_429(world: World, wait_s: int | None) -> None:
    line = world.line()
    answer = await line.ask(chat(fault("status", status=429, retry_after_s=wait_s)))
    line.close()
    assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
    assert answer.headers["retry-after"] == str(wait_s or 1)


async def test_05_no_error_is_counted_or_logged_as_success(world: World) -> None:
    cases = {
        "logged-400": (fault("status", status=400), "caller_error"),
        "logged-429": (fault("status", status=429), "rate_limited"),
        "logged-500": (fault("status", status=500), "upstream_error"),
        "logged-529": (fault("status", status=529), "upstream_error"),
        "logged-reset": (fault("reset"), "upstream_error"),
        "logged-hole": (fault("black_hole"), "timeout"),
        "logged-redirect": (fault("redirect"), "upstream_error"),
    }
    ok = world.total("glidepath_requests_total", 'outcome="ok"')
    for request_id, (prompt, _) in cases.items():
        line = world.line()
        answer = await line.ask(chat(prompt), {"x-request-id": request_id, **TIGHT})
        line.close()
        assert answer.status >= 400
    await until(lambda: cases.keys() <= world.access_log().keys())
    log = world.access_log()
    assert {each: log[each]["outcome"] for each in cases} == {each: outcome for each, (_, outcome) in cases.items()}
    assert world.total("glidepath_requests_total", 'outcome="ok"') == ok


async def test_12_a_thousand_error_streams_hold_nothing(world: World) -> None:
    draw = random.Random(12)
    kinds = [
        fault("status", status=503),
        fault("status", status=429),
        fault("status", status=400),
        fault("status", status=500, body="html"),
        fault("status", status=529),
        fault("error_event"),
        fault("cut_stream"),
        fault("reset"),
        fault("status", status=200),
    ]

    async def ask(line: Line, number: int) -> bool:
        answer = await line.ask(chat(f"{draw.choice(kinds)} {number}", "summarize", stream=True))
        return answer.done

    await over_lines(world.url, range(200), ask, lines=20)
    await until(world.at_rest)
    sockets = world.sockets()
    assert not any(await over_lines(world.url, range(1_000), ask, lines=20))
    await until(world.at_rest)
    assert world.sockets() <= sockets + 40


async def test_12_streams_survive_a_reload_of_the_configuration(world: World) -> None:
    before = set(world.workers())
    lines = [world.line() for _ in range(40)]
    body = chat(fault("slow_body", delay_s=0.02) + "[[tokens:150]]", "patient", stream=True)
    for line in lines:
        await line.send(body)
    for line in lines:
        await line.head()
    world.configure(
        (world.folder / "glidepath.toml").read_text("utf-8").replace("connections_max = 2", "connections_max = 3")
    )
    await until(lambda: set(world.workers()) - before)

    async def rest(line: Line) -> bytes:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await line.some()
        return data

    for data in await asyncio.gather(*map(rest, lines)):
        assert b"data: [DONE]" in data
    for line in lines:
        line.close()
    await until(lambda: not before & set(world.workers()))
    await until(world.at_rest)


STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
BODIES = ("vendor", "nested", "detail", "string", "html", "empty")


def check(answer: Answer) -> None:
    """An error as OpenAI's clients read it, which tells when to come back and no secret."""
    assert answer.status >= 400
    assert answer.whole
    assert set(answer.json) == {"error"}
    error = answer.error
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert all(error[name] is None or isinstance(error[name], str) for name in ("param", "code"))
    assert not any(secret in json.dumps(error) for secret in SECRETS)
    if answer.status in {429, 503}:
        assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.headers["content-type"].startswith("application/json")


async def test_14_every_error_of_an_upstream_has_the_schema(world: World) -> None:
    cases = [
        (feature, status, body, wait_s, stream)
        for feature in ("summarize", "claude")
        for status in STATUSES
        for body in BODIES
        for wait_s in (None, 2, 100_000_000)
        for stream in (False, True)
        if wait_s != 100_000_000 or body == "vendor"
    ]

    async def ask(line: Line, case: tuple) -> Answer:
        feature, status, body, wait_s, stream = case
        figures = {} if wait_s is None else {"retry_after_s": min(wait_s, 3_600)}
        prompt = fault("status", status=status, body=body, leak=True, **figures)
        return await line.ask(chat(prompt, feature, stream=stream, max_tokens=9))

    answers = await over_lines(world.url, cases, ask, lines=12)
    for case, answer in zip(cases, answers, strict=True):
        check(answer)
        if case[1] in {400, 409, 413, 422, 429}:
            assert answer.status == case[1]
        else:
            assert answer.status in {408, 502, 503, 504}
    assert not any(secret in world.page() for secret in SECRETS)
    assert not any(secret in (world.folder / "access.log").read_text("utf-8") for secret in SECRETS)


REFUSED = {
    "no key": (401, {"body": chat("x"), "headers": {"authorization": ""}}),
    "wrong key": (401, {"body": chat("x"), "headers": {"authorization": "Bearer gp-wrong"}}),
    "unknown feature": (404, {"body": chat("x", "sumarize")}),
    "unknown path": (404, {"body": None, "path": "/v1/nothing"}),
    "wrong method": (405, {"body": None, "method": "GET"}),
    "no JSON": (400, {"body": b"{"}),
    "no object": (400, {"body": b"[]"}),
    "no model": (400, {"body": b"{}"}),
    "wrong type": (400, {"body": chat("x", stream="yes")}),
    "wrong deadline": (400, {"body": chat("x"), "headers": {"x-glidepath-timeout-s": "soon"}}),
    "nobody there": (503, {"body": chat("x", "nowhere")}),
    "black hole": (504, {"body": chat(fault("black_hole")), "headers": TIGHT}),
    "slow headers": (504, {"body": chat(fault("slow_headers", delay_s=9)), "headers": TIGHT}),
    "reset": (502, {"body": chat(fault("reset"))}),
    "garbage": (502, {"body": chat(fault("garbage"))}),
    "redirect": (502, {"body": chat(fault("redirect"))}),
    "bad feedback": (400, {"body": b'{"request_id":"x","rating":7}', "path": "/v1/feedback"}),
    "unknown feedback": (404, {"body": b'{"request_id":"x","rating":1}', "path": "/v1/feedback"}),
    "unknown model": (404, {"body": None, "path": "/v1/models/x", "method": "GET"}),
    "unsupported": (400, {"body": {"model": "copilot/claude", "prompt": "x"}, "path": "/v1/completions"}),
}


@pytest.mark.parametrize("case", [*REFUSED])
async def test_14_every_refusal_has_the_schema(world: World, case: str) -> None:
    status, request = REFUSED[case]
    line = world.line()
    answer = await line.ask(**request)
    line.close()
    check(answer)
    assert answer.status == status


async def test_14_limits_of_keys_have_the_schema(world: World) -> None:
    key = world.make_key(requests_per_minute=2, features=["summarize"])
    answers = await over_lines(world.url, range(12), lambda line, n: line.ask(chat(f"limited {n}")), lines=2, key=key)
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) >= 8
    for answer in refused:
        check(answer)
        assert answer.status == 429
    (forbidden,) = await over_lines(world.url, [0], lambda line, _: line.ask(chat("x", "claude")), key=key)
    check(forbidden)
    assert forbidden.status == 404


async def test_faults_that_are_none_for_the_caller(world: World) -> None:
    kinds = ["gzip", "huge_answer", "slow_body", "odd_chunks", "eof_body", "interim", "duplicate_headers"]
    kinds += ["unsolicited", "close_after", "content_filter", "drip_headers"]
    figures = {"huge_answer": {"size_bytes": 3 << 20}, "slow_body": {"delay_s": 0.01}}
    cases = [(kind, stream) for kind in kinds for stream in (False, True)]

    async def ask(line: Line, case: tuple[str, bool]) -> Answer:
        kind, stream = case
        return await line.ask(chat(fault(kind, **figures.get(kind, {})), "patient", stream=stream))

    for (kind, stream), answer in zip(cases, await over_lines(world.url, cases, ask, lines=4), strict=True):
        assert (answer.status, answer.whole) == (200, True), kind
        assert answer.done is stream, kind
        assert answer.text, kind
        if kind == "huge_answer":
            assert len(answer.text) == 3 << 20
        if kind == "content_filter":
            assert b'"finish_reason":"content_filter"' in answer.body
    await until(world.at_rest)


async def test_a_stale_connection_costs_nobody_a_request(world: World) -> None:
    line = world.line()
    for number in range(20):
        answer = await line.ask(chat(f"{fault('stale')} {number}", "patient", stream=bool(number % 2)))
        assert (answer.status, answer.headers["x-glidepath-attempts"]) == (200, "1")
    line.close()


async def test_a_refusing_upstream_is_a_503_and_is_back_by_itself(world: World) -> None:
    world.simulator.post("listener", {"refuse_s": 0.8, "drop": True})
    line = world.line()
    answer = await line.ask(chat("anybody there?"))
    assert answer.status in {502, 503}
    check(answer)
    async with asyncio.timeout(30):
        while (await line.ask(chat("and now?"))).status != 200:  # noqa: ASYNC110  the port opens by itself
            await asyncio.sleep(0.05)
    line.close()


async def test_flapping_upstreams_are_evened_out_by_the_fallback(world: World) -> None:
    world.set_share("summarize", 100_000)
    world.simulator.faults({"kind": "status", "status": 503, "good": 2, "bad": 3, "model": "inhouse-sim"})
    try:
        answers = await over_lines(world.url, range(100), lambda line, n: line.ask(chat(f"flap {n}")), lines=4)
    finally:
        world.simulator.faults()
        world.set_share("summarize", 0)
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["x-glidepath-arm"] for answer in answers} >= {"candidate", "baseline"}
