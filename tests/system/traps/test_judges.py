"""Judges in real processes: pairs become evidence; one that is down, slow or beside the point proves nothing.

And whatever a judge does, answers are what they were.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.core.evidence.pair_verdicts import LOST_ASKED_MIN, verdict_of
from rollout.core.evidence.pairs import Replies
from rollout.core.gates import Result, Verdict
from rollout.core.model import BUCKETS, Shadow
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from tests.system.traps.caller import DEADLINE_S
from tests.system.traps.conftest import World, config, start_world, until
from tests.system.traps.test_shadow import COUNT, answers, calls, change, first_one, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.traps.conftest import Simulator

pytestmark = pytest.mark.system

QUOTED = re.compile(r"\w{32} the (?:first|second) answer begins\n(.*?)\n\w{32} the", re.DOTALL)
JUDGED = {"fair": "strict", "torn": "priced", "mute": "flaky", "slow": "patient", "gone": "narrow"}
"""Judge -> feature."""
PROOF = Gate(
    name="as-good", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="judge", margin=0.3
)
# It bakes before its first step, so that nobody moves its share meanwhile.
PLAN = RampPlan(steps=(Step(share=1_000, bake="1h"),))
HARM = msgspec.structs.replace(PROOF, name="worse", kind=GateKind.HARM)
NONSENSE_EVERY = 8
MODELS = {"fair": "fair", "torn": "torn"}
MORE = {"fair": 'api_key_env = "FAIR_KEY"\n', "torn": 'api_key_env = "FAIR_KEY"\n', "slow": "timeout_s = 0.3\n"}


class Fair(BaseHTTPRequestHandler):
    """Prefers the longer answer, wherever it stands; as "torn" it talks nonsense now and then."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        first, second = QUOTED.findall(asked["messages"][1]["content"])
        self.server.asked.append((self.headers["authorization"], frozenset((first, second))))
        better = "first" if (len(first), first) > (len(second), second) else "second"
        said = json.dumps({"winner": better})
        if asked["model"] == "torn":
            self.server.torn += 1
            said = said if self.server.torn % NONSENSE_EVERY else "Both are lovely."
        message = {"role": "assistant", "content": said}
        body = json.dumps({"model": "fair-1", "choices": [{"index": 0, "message": message}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def fair() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fair)
    server.daemon_threads = True
    server.asked, server.torn = [], 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def stalled() -> Iterator[int]:
    """A port that takes connections, and nobody is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def world(
    module_command: Callable[..., object],
    module_folder: Path,
    simulator: Simulator,
    fair: ThreadingHTTPServer,
    stalled: int,
) -> Iterator[World]:
    urls = {
        "fair": f"http://127.0.0.1:{fair.server_address[1]}/v1",
        "torn": f"http://127.0.0.1:{fair.server_address[1]}/v1",
        "slow": f"http://127.0.0.1:{stalled}/v1",
        "mute": f"{simulator.url}/v1",
        "gone": "http://127.0.0.1:9/v1",
    }
    judges = "".join(
        f'[judges.{name}]\nurl = "{url}"\nmodel = "{MODELS.get(name, "partner-sim")}"\n' + MORE.get(name, "")
        for name, url in urls.items()
    )

    def start(*arguments: str, **environment: str) -> object:
        return module_command(*arguments, FAIR_KEY="sk-fair", **environment)

    with closing(start_world(start, module_folder, simulator, config(simulator.url, judges))) as started:
        yield started
        assert started.gateway.stop() == 0


def scores(world: World, feature: str, *parts: str) -> float:
    return world.total("glidepath_judge_scores_total", f'feature="{feature}"', *parts)


def missed(world: World, feature: str, *parts: str) -> float:
    return world.total("glidepath_judge_missed_total", f'feature="{feature}"', *parts)


async def judged(world: World, judge: str, reason: str = "") -> None:
    """Ask with a sample of everything, and wait until each pair has come to its end, or three to this bad one."""
    feature = JUDGED[judge]
    # Else both arms would say the same.
    world.simulator.faults({"kind": "huge_answer", "size_bytes": 2_000, "model": "inhouse-sim"})
    without = await answers(world, feature, f"{judge}-without")
    began_s = time.time()
    ramp = Progress(Phase.RUNNING, attempt=1, ramp_began_s=began_s, step_began_s=began_s)
    await change(
        world, feature, shadow=Shadow(BUCKETS, "", 10_000, 64, judge), gates=(PROOF, HARM), ramp=PLAN, progress=ramp
    )
    await first_one(world, feature)
    await until(world.at_rest)
    begun = calls(world, feature) + skipped(world, feature)
    assert await answers(world, feature, f"{judge}-with") == without
    await until(lambda: calls(world, feature) + skipped(world, feature) >= begun + COUNT)
    own = f'judge="{judge}"'

    def ended() -> bool:
        of_feature = [(name, value) for name, value in world.samples().items() if f'feature="{feature}"' in name]
        pairs = sum(value for name, value in of_feature if name.startswith("glidepath_shadow_pairs_total"))
        ends = ("glidepath_judge_scores_total", "glidepath_judge_missed_total")
        return 0 < pairs == sum(value for name, value in of_feature if name.startswith(ends) and own in name)

    if reason:  # after three of them it is left alone, and the other pairs wait
        await until(lambda: missed(world, feature, own, f'reason="{reason}"') >= 3)
    else:
        await until(ended)
    await change(world, feature, shadow=Shadow())
    await until(lambda: world.total("glidepath_judge_waiting", own) == 0)


def shown(world: World, feature: str, gate: str) -> str:
    """What the controller says of a gate, "" for nothing yet."""
    of_gate = ("glidepath_gate_verdict{", f'feature="{feature}"', f'gate="{gate}"')
    found = [name for name, value in world.samples().items() if value and all(part in name for part in of_gate)]
    return found[0].partition('result="')[2].partition('"')[0] if found else ""


async def verdicts(world: World, feature: str, asked_min: int) -> dict[str, Verdict]:
    """What the gates say once the judge's answers, given or lost, are in the store."""
    store = SqliteStore(world.folder / "glidepath-data" / "glidepath.db")
    try:
        flag = await store.get(feature)
        assert flag is not None
        async with asyncio.timeout(DEADLINE_S):
            while True:
                sums = await store.read_sums(feature)
                counts = [Replies(*vector) for key, vector in sums.items() if key.name.startswith("judged.")]
                if sum(map(sum, counts)) >= asked_min:
                    return {gate.name: verdict_of(gate, flag, sums, time.time()) for gate in flag.gates}
                await asyncio.sleep(0.05)
    finally:
        await store.close()


async def test_pairs_become_scores_in_both_orders_and_scores_a_verdict(world: World, fair: ThreadingHTTPServer) -> None:
    await judged(world, "fair")
    lost = {name: n for name, n in world.samples().items() if name.startswith("glidepath_judge_missed_total")}
    assert not lost
    same = scores(world, "strict", 'result="same"')
    decided = scores(world, "strict", 'result="candidate"')
    assert same + decided == scores(world, "strict") > COUNT / 2
    assert {key for key, _ in fair.asked} == {"Bearer sk-fair"}
    assert len(fair.asked) == 2 * decided
    found = await verdicts(world, "strict", int(decided))
    assert {name: verdict.result for name, verdict in found.items()} == {"as-good": Result.PASS, "worse": Result.PASS}
    for gate in ("as-good", "worse"):
        await until(lambda gate=gate: shown(world, "strict", gate) == "PASS")
    units = found["as-good"].samples
    assert units is not None
    assert COUNT / 2 < units <= decided
    assert world.total("glidepath_uncounted_pairs_total") == 0


@pytest.mark.parametrize(("judge", "reason"), [("mute", "nonsense"), ("gone", "unreachable"), ("slow", "timeout")])
async def test_a_judge_that_is_down_slow_or_beside_the_point_scores_and_proves_nothing(
    world: World, judge: str, reason: str
) -> None:
    await judged(world, judge, reason)
    feature = JUDGED[judge]
    assert scores(world, feature) == scores(world, feature, 'result="same"') == 0
    for verdict in (await verdicts(world, feature, 3)).values():
        await until(lambda gate=verdict.gate: shown(world, feature, gate) == "NO_DATA")
        assert verdict.result is Result.NO_DATA
        assert "were lost" in verdict.reason


async def test_a_judge_that_talks_nonsense_now_and_then_proves_nothing(world: World) -> None:
    """Each win is the candidate's, and yet."""
    await judged(world, "torn")
    feature = JUDGED["torn"]
    assert scores(world, feature) == scores(world, feature, 'result="candidate"') > 0
    for verdict in (await verdicts(world, feature, LOST_ASKED_MIN)).values():
        await until(lambda gate=verdict.gate: shown(world, feature, gate) == "INCONCLUSIVE")
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.reason.startswith("the judge loses too many answers")


def test_nothing_that_people_wrote_is_shown(world: World) -> None:
    page, log = world.page(), world.gateway.stdout + world.gateway.stderr
    assert "question 1" not in page + log
    assert "sk-fair" not in page + log
    assert "defect" not in page
