"""A judge on real sockets: what it is asked, what becomes of its verdicts, and that its troubles stay its own."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from gateway.core.breaker import BreakerState
from gateway.core.judging.score import Miss, Result
from tests.gateway.bench import (
    NOW_S,
    answers_in,
    completion,
    pair,
    prefers_ours,
    stalls,
    start_bench,
    start_judge,
    verdict,
)

OPINIONS = {
    "ours": prefers_ours,
    "theirs": lambda first, _: verdict("second" if first == "ours" else "first"),
    "tie": lambda *_: verdict("tie"),
    "first": lambda *_: verdict("first"),
    "second": lambda *_: verdict("second"),
    "half": lambda first, _: verdict("first" if first == "ours" else "tie"),
}


@pytest.fixture
def bench(stack):
    return partial(start_bench, stack)


@pytest.fixture
def judge_server(upstream):
    return partial(start_judge, upstream)


async def test_both_orders_are_asked_and_the_score_says_all_that_evidence_needs(judge_server, bench) -> None:
    server = await judge_server(OPINIONS["ours"])
    here = bench(server.port, parameters={"temperature": 0})
    here.judges.take(pair(1))
    here.now_s = NOW_S + 5
    await here.settled()
    (scored,) = here.scores
    assert (scored.request_id, scored.feature, scored.revision, scored.tenant) == ("r1", "draft", 7, "acme")
    assert (scored.unit_kind, scored.unit, scored.assigned) == ("user", "ann", "baseline")
    assert (scored.candidate, scored.baseline, scored.judge) == ("inhouse", "partner", "j")
    assert (scored.w, scored.result, scored.paired_at_s, scored.at_s) == (1.0, Result.CANDIDATE, NOW_S, NOW_S + 5)
    assert (here.results, here.missed) == ({"candidate": 1}, {})
    one, two = server.requests
    assert one.line == "POST /v1/chat/completions HTTP/1.1"
    assert (one.headers["authorization"], one.headers["x-request-id"]) == ("Bearer sk-judge", "r1-judge-a")
    assert two.headers["x-request-id"] == "r1-judge-b"
    assert (one.json["model"], one.json["temperature"]) == ("judge-1", 0)
    assert (answers_in(one), answers_in(two)) == (("ours", "theirs"), ("theirs", "ours"))
    assert "user:\nSay hi." in one.json["messages"][1]["content"]
    assert one.json["messages"][1]["content"].split()[6] != two.json["messages"][1]["content"].split()[6]


@pytest.mark.parametrize("assigned", ["candidate", "baseline"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("opinion", "w", "result"),
    [
        ("ours", 1.0, "candidate"),
        ("theirs", 0.0, "baseline"),
        ("tie", 0.5, "tie"),
        ("first", 0.5, "first"),
        ("second", 0.5, "second"),
        ("half", 0.5, "half"),
    ],
)
async def test_the_score_depends_on_the_answers_alone(
    judge_server,
    bench,
    assigned: str,
    first: bool,  # noqa: FBT001  a case
    opinion: str,
    w: float,
    result: str,
) -> None:
    """Neither on who was assigned nor on who was shown first; and swapping the answers turns it round."""
    here = bench((await judge_server(OPINIONS[opinion])).port)
    here.judges.take(pair(1, assigned=assigned, candidate_first=first))
    here.judges.take(pair(2, "theirs", "ours", assigned=assigned, candidate_first=first))
    await here.settled()
    found = {each.request_id: each for each in here.scores}
    assert (found["r1"].w, found["r1"].result) == (w, result)
    assert found["r2"].w == 1.0 - w


async def test_one_model_has_one_version_and_another_one_another(judge_server, upstream, bench, wire) -> None:
    versions = []
    for reported in ("judge-1-a", "judge-1-a", "judge-1-b"):
        server = await upstream(wire.plain(completion(verdict("tie"), reported)))
        here = bench(server.port)
        here.judges.take(pair())
        await here.settled()
        versions.append(here.scores[0].judge_version)
    assert versions[0] == versions[1] != versions[2]


async def test_a_change_of_the_model_is_told_in_the_log(upstream, bench, wire, caplog) -> None:
    async def script(peer) -> None:
        for model in ("judge-1-a", "judge-1-a", "judge-1-b"):
            for _ in range(2):
                await peer.request()
                peer.send(wire.plain(completion(verdict("tie"), model)))

    here = bench((await upstream(script)).port, concurrent=1)
    for number in range(3):
        here.judges.take(pair(number))
    await here.settled()
    assert len({each.judge_version for each in here.scores}) == 2
    assert [record.message for record in caplog.records] == [
        "judge j answers as another model now: evidence from its scores starts afresh"
    ]


async def test_equal_answers_are_even_and_cost_nothing_once_it_is_known_who_judges(judge_server, bench) -> None:
    server = await judge_server(lambda *_: verdict("first"))
    here = bench(server.port, concurrent=1)
    for number in range(3):
        here.judges.take(pair(number, "same", "same"))
        await here.settled()
    assert [(each.w, each.result) for each in here.scores] == [(0.5, Result.SAME)] * 3
    assert len({each.judge_version for each in here.scores}) == 1
    assert here.scores[0].judge_version
    assert len(server.requests) == 2


async def test_equal_answers_are_even_whatever_is_said_of_them(upstream, bench, wire) -> None:
    async def script(peer) -> None:
        for winner in ("first", "second"):
            await peer.request()
            peer.send(wire.plain(completion(verdict(winner))))

    here = bench((await upstream(script)).port)
    here.judges.take(pair(1, "same", "same"))
    await here.settled()
    assert (here.scores[0].w, here.scores[0].result) == (0.5, Result.SAME)


async def test_what_a_judge_loses_is_told_by_its_last_version(upstream, bench, wire) -> None:
    async def script(peer) -> None:
        for text in ("hm", verdict("tie"), verdict("tie"), "hm"):
            await peer.request()
            peer.send(wire.plain(completion(text)))

    here = bench((await upstream(script)).port, concurrent=1)
    for number in range(3):
        here.judges.take(pair(number))
        await here.settled()
    version = here.scores[0].judge_version
    assert here.losses == [("draft", 7, ""), ("draft", 7, version)]


async def drips(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        peer.send(b" ")
        await asyncio.sleep(0.01)  # slow is what it is


async def breaks_off(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
    await peer.drained()
    peer.reset()


async def hangs_up(peer) -> None:
    await peer.request()
    peer.reset()


async def babbles(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await peer.drained()


async def speaks_no_http(peer) -> None:
    await peer.request()
    peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")


def lie(text: str) -> str:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(completion(text).encode())}\r\n\r\n{completion(text)}"


FAILING = {
    "slow": (stalls, Miss.TIMEOUT),
    "drips": (drips, Miss.TIMEOUT),
    "breaks off": (breaks_off, Miss.BROKEN),
    "hangs up": (hangs_up, Miss.BROKEN),
    "no HTTP": (speaks_no_http, Miss.BROKEN),
    "huge": (babbles, Miss.TOO_LARGE),
    "fails": (b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", Miss.STATUS),
    "refuses": (b"HTTP/1.1 401 X\r\ncontent-length: 2\r\n\r\n{}", Miss.STATUS),
    "redirects": (b"HTTP/1.1 307 X\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n", Miss.STATUS),
    "overrun": (b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n", Miss.RATE_LIMITED),
    "a web page": (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", Miss.NO_COMPLETION),
    "silent": (lie("").encode(), Miss.NO_COMPLETION),
    "nonsense": (lie("Both are fine answers!").encode(), Miss.NONSENSE),
    "swayed": (lie('{"winner": "first"} {"winner": "second"}').encode(), Miss.NONSENSE),
    "knows arms": (lie('{"winner": "candidate"}').encode(), Miss.NONSENSE),
}


@pytest.mark.parametrize("how", FAILING)
async def test_a_judge_that_fails_gives_no_score_and_is_not_asked_again(upstream, bench, how: str) -> None:
    script, reason = FAILING[how]
    server = await upstream(script)
    here = bench(server.port, timeout_s=0.3 if reason is Miss.TIMEOUT else 600)
    here.judges.take(pair())
    await here.settled()
    assert (here.missed, here.results, here.scores) == ({reason: 1}, {}, [])
    assert here.losses == [("draft", 7, "")]
    await here.until(lambda: server.connections == 1)  # the judge may have been given up before the server had its turn
    assert len(server.requests) <= 1
    await here.until(lambda: here.judge._line.pool.counts[1] == 0)


async def test_a_judge_that_is_down_gives_no_score(bench, unused_port: int) -> None:
    here = bench(unused_port)
    here.judges.take(pair())
    await here.settled()
    assert (here.missed, here.scores) == ({Miss.UNREACHABLE: 1}, [])


async def test_a_model_that_changes_between_the_orders_gives_no_score(upstream, bench, wire) -> None:
    async def script(peer) -> None:
        for model in ("judge-1-a", "judge-1-b"):
            await peer.request()
            peer.send(wire.plain(completion(verdict("tie"), model)))
        await peer.request()

    here = bench((await upstream(script)).port)
    here.judges.take(pair())
    await here.settled()
    assert (here.missed, here.scores) == ({Miss.CHANGED: 1}, [])


async def test_a_judge_that_fails_is_left_alone_until_a_probe_passes(upstream, bench, wire) -> None:
    sick = True

    async def script(peer) -> None:
        while True:
            server.requests.append(await peer.request())
            peer.send(wire.plain("", "503 X") if sick else wire.plain(completion(verdict("tie"))))

    server = await upstream(script)
    here = bench(server.port, concurrent=1)
    for number in range(20):
        here.judges.take(pair(number))
    await here.until(lambda: here.judge.state == BreakerState.EJECTED)
    for _ in range(20):
        await here.turn()
    assert (len(server.requests), here.judge.counts, here.missed) == (3, (17, 0), {Miss.STATUS: 3})
    sick = False
    await here.until(lambda: here.judge.counts == (0, 0), later_s=30.0)
    assert (here.judge.state, here.results) == (BreakerState.HEALTHY, {"tie": 17})
    assert len(server.requests) == 3 + 2 * 17


async def test_no_second_question_once_the_judge_is_given_up(upstream, bench, wire) -> None:
    """Three pairs fail while a fourth waits for its first answer: its second question is not asked."""

    async def script(peer) -> None:
        while True:
            request = await peer.request()
            server.requests.append(request)
            if request.headers["x-request-id"].startswith("r0"):
                await held.wait()
                peer.send(wire.plain(completion(verdict("tie"))))
            else:
                peer.send(wire.plain("", "500 X"))

    held = asyncio.Event()
    server = await upstream(script)
    here = bench(server.port, concurrent=4)
    for number in range(4):
        here.judges.take(pair(number))
    await here.until(lambda: here.judge.state == BreakerState.EJECTED and len(server.requests) == 4)
    held.set()
    await here.settled()
    assert (here.missed, here.scores) == ({Miss.STATUS: 3, Miss.CIRCUIT: 1}, [])


async def test_how_long_answers_took_is_counted_by_judge(judge_server, bench) -> None:
    here = bench((await judge_server(OPINIONS["ours"])).port)
    here.judges.take(pair())
    await here.settled()
    assert sum(here.metrics.judging.duration.series["j",].counts) == 2


async def test_what_questions_cost_is_counted_whatever_came_of_them(upstream, bench, wire) -> None:
    async def script(peer) -> None:
        for text, usage in (
            (verdict("tie"), {"prompt_tokens": 90, "completion_tokens": 7}),
            ("hm", {"prompt_tokens": 5}),
        ):
            await peer.request()
            peer.send(wire.plain(json.dumps({**json.loads(completion(text)), "usage": usage})))

    here = bench((await upstream(script)).port)
    here.judges.take(pair())
    await here.settled()
    assert here.missed == {Miss.NONSENSE: 1}
    assert here.metrics.judging.tokens.series == {("draft", "j", "input"): 95, ("draft", "j", "output"): 7}


async def test_nothing_that_people_wrote_is_in_a_score_or_a_metric(judge_server, bench) -> None:
    here = bench((await judge_server(OPINIONS["ours"])).port)
    here.judges.take(
        pair(
            1,
            "ours",
            "SECRET-THEIRS",
            prompt=json.dumps({"messages": [{"role": "user", "content": "SECRET-ASKED"}]}).encode(),
        )
    )
    await here.settled()
    shown = repr(here.scores) + repr([list(family.samples) for family in here.metrics.collect()])
    assert len(here.scores) == 1
    assert "SECRET" not in shown
