"""A bench of judges on real sockets, for tests: pairs go in, scores and counts come out."""

from __future__ import annotations

import asyncio
import json
import re
from time import perf_counter

from gateway.core.shadowing import Answered, ShadowPair
from gateway.judges import build_judges
from gateway.metrics import Metrics
from gateway.quotas import Quotas
from gateway.settings import Settings
from gateway.tenants import Tenants
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import BUCKETS, FeatureFlag, Shadow
from tests.gateway.shadows import Windows

NOW_S = 1_000.0
CHAT = json.dumps({"model": "copilot/draft", "messages": [{"role": "user", "content": "Say hi."}]}).encode()
UPSTREAMS = {
    name: {"kind": "vllm", "base_urls": [f"http://127.0.0.1:9/{name}"], "model": name, "region": region}
    for name, region in (("inhouse", "eu"), ("partner", "us"))
}


def pair(number: int = 0, ours: str = "ours", theirs: str = "theirs", *, assigned: str = "baseline", **more: object):
    """`ours`: the candidate's answer."""
    arms = {
        "candidate": Answered("candidate", "inhouse", ours, None, None, 0.1),
        "baseline": Answered("baseline", "partner", theirs, None, None, 0.1),
    }
    given = {
        "request_id": f"r{number}",
        "at_s": NOW_S,
        "feature": "draft",
        "revision": 7,
        "tenant": "acme",
        "unit_kind": "user",
        "unit": "ann",
        "operation": "chat",
        "stream": False,
        "prompt": CHAT,
        "assigned": arms.pop(assigned),
        "other": next(iter(arms.values())),
        "candidate_first": True,
    }
    return ShadowPair(**{**given, **more})


def completion(text: str, model: str = "judge-1-2026") -> str:
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": "c", "model": model, "choices": [{"index": 0, "message": message}]})


def verdict(winner: str) -> str:
    return json.dumps({"reason": "because", "winner": winner})


def answers_in(request) -> tuple[str, str]:
    """The answers in a question, in their order."""
    text = request.json["messages"][1]["content"]
    first, second = re.findall(r"\w{32} the (?:first|second) answer begins\n(.*?)\n\w{32} the", text, re.DOTALL)
    return first, second


class Bench:
    """Judges of one worker, driven by hand, on a clock that is set by hand."""

    def __init__(self, port: int, documents: dict[str, object], judge: str, **settings: object) -> None:
        self.now_s, self._turns = NOW_S, 0
        # Its own clock goes on: blocks are not asked for twice in the same moment.
        self.metrics = Metrics()
        self.quotas = Quotas(Windows(), clock=lambda: self.now_s + self._turns / 20)
        self.scores: list = []
        self.take = self.scores.append
        self.losses: list = []
        self.lose = self.losses.append
        self.spared: list = []
        self.spare = self.spared.append
        # Patient, however slow the machine, where a test doesn't say otherwise.
        one = {"url": f"http://127.0.0.1:{port}/v1", "model": "judge-1", "timeout_s": 600, **settings}
        document = {"upstreams": UPSTREAMS, "judges": {"j": one}, **documents}
        whole = Settings.model_validate(document)
        self.flag(judge=judge)
        self.judges = build_judges(
            whole,
            {"j": "sk-judge"},
            snapshot=lambda: self.snapshot,
            tenants=Tenants(whole),
            leasing=self.quotas.admission.leasing,
            sink=self,
            counts=self.metrics.judging,
            clock=lambda: self.now_s,
        )

    def flag(self, judge: str = "j", **more: object) -> None:
        arms = {"feature": "draft", "candidate": "inhouse", "baseline": "partner"}
        made = FeatureFlag(**{**arms, "shadow": Shadow(BUCKETS, "", 1_000, 8, judge), **more})
        self.snapshot = compile_snapshot({"draft": made}, 1)

    @property
    def judge(self):
        return self.judges.judges["j"]

    @property
    def missed(self) -> dict[str, int]:
        return {reason: int(n) for (_, _, reason), n in self.metrics.judging.missed.series.items()}

    @property
    def results(self) -> dict[str, int]:
        return {result: int(n) for (_, _, result), n in self.metrics.judging.scores.series.items()}

    async def turn(self, later_s: float = 0.0) -> None:
        self._turns += 1
        await self.quotas.round()
        self.judge.turn(perf_counter() + later_s)
        await asyncio.sleep(0.002)

    async def until(self, condition, later_s: float = 0.0) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self.turn(later_s)

    async def settled(self) -> None:
        await self.until(lambda: self.judge.counts == (0, 0))


def start_bench(stack, port: int, documents: dict[str, object] | None = None, judge: str = "j", **settings: object):
    """`documents`: more of the configuration; `judge`: whom the flag names; more: `[judges.j]`."""
    bench = Bench(port, documents or {}, judge, **settings)
    stack.push_async_callback(bench.judges.close)
    return bench


async def start_judge(upstream, reply):
    """Start a judge whose text is `reply(first, second)`."""

    async def script(peer) -> None:
        while True:
            request = await peer.request()
            server.requests.append(request)
            peer.send(_plain(completion(reply(*answers_in(request)))))

    server = await upstream(script)
    return server


def prefers_ours(first: str, _second: str) -> str:
    return verdict("first" if first == "ours" else "second")


async def stalls(peer) -> None:
    """A judge that takes a question and says nothing."""
    await peer.request()
    await peer.request()


def _plain(body: str) -> bytes:
    data = body.encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)
