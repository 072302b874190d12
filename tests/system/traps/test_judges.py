"""Judges in real processes: pairs become scores, and a judge that is down or beside the point touches no answer."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from rollout.core.model import BUCKETS, Shadow
from tests.system.traps.conftest import World, config, start_world, until
from tests.system.traps.test_shadow import COUNT, answers, calls, change, first_one, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.traps.conftest import Simulator

pytestmark = pytest.mark.system

QUOTED = re.compile(r"\w{32} the (?:first|second) answer begins\n(.*?)\n\w{32} the", re.DOTALL)
JUDGED = {"fair": "strict", "mute": "flaky", "gone": "narrow"}
"""Judge -> feature."""


class Fair(BaseHTTPRequestHandler):
    """Prefers what comes later in the alphabet, wherever it stands."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        first, second = QUOTED.findall(asked["messages"][1]["content"])
        self.server.asked.append((self.headers["authorization"], frozenset((first, second))))
        message = {"role": "assistant", "content": json.dumps({"winner": "first" if first > second else "second"})}
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
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def world(
    module_command: Callable[..., object], module_folder: Path, simulator: Simulator, fair: ThreadingHTTPServer
) -> Iterator[World]:
    urls = {
        "fair": f"http://127.0.0.1:{fair.server_address[1]}/v1",
        "mute": f"{simulator.url}/v1",
        "gone": "http://127.0.0.1:9/v1",
    }
    judges = "".join(
        f'[judges.{name}]\nurl = "{url}"\nmodel = "partner-sim"\n' + 'api_key_env = "FAIR_KEY"\n' * (name == "fair")
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


async def judged(world: World, judge: str) -> None:
    """Ask with a sample of everything, and wait until each pair has come to its end."""
    feature = JUDGED[judge]
    # Else both arms would say the same.
    world.simulator.faults({"kind": "huge_answer", "size_bytes": 2_000, "model": "inhouse-sim"})
    without = await answers(world, feature, f"{judge}-without")
    await change(world, feature, shadow=Shadow(BUCKETS, "", 10_000, 64, judge))
    await first_one(world, feature)
    await until(world.at_rest)
    begun = calls(world, feature) + skipped(world, feature)
    assert await answers(world, feature, f"{judge}-with") == without
    await until(lambda: calls(world, feature) + skipped(world, feature) >= begun + COUNT)
    own = f'judge="{judge}"'

    def ended() -> bool:
        pairs = world.total("glidepath_shadow_pairs_total", f'feature="{feature}"')
        return 0 < pairs == scores(world, feature, own) + missed(world, feature, own)

    if judge == "fair":
        await until(ended)
    else:
        await until(lambda: missed(world, feature, own) >= 3)  # then it is left alone, and the others wait
    await change(world, feature, shadow=Shadow())
    await until(lambda: world.total("glidepath_judge_waiting", own) == 0)


async def test_pairs_become_scores_in_both_orders(world: World, fair: ThreadingHTTPServer) -> None:
    await judged(world, "fair")
    lost = {name: n for name, n in world.samples().items() if name.startswith("glidepath_judge_missed_total")}
    assert not lost
    same = scores(world, "strict", 'result="same"')
    decided = scores(world, "strict", 'result="candidate"') + scores(world, "strict", 'result="baseline"')
    assert same + decided == scores(world, "strict") > COUNT / 2
    assert {key for key, _ in fair.asked} == {"Bearer sk-fair"}
    assert len(fair.asked) == 2 * decided


@pytest.mark.parametrize(("judge", "reason"), [("mute", "nonsense"), ("gone", "unreachable")])
async def test_a_judge_that_is_beside_the_point_or_down_scores_nothing(world: World, judge: str, reason: str) -> None:
    await judged(world, judge)
    feature = JUDGED[judge]
    assert missed(world, feature, f'reason="{reason}"') >= 3
    assert scores(world, feature) == scores(world, feature, 'result="same"')


def test_nothing_that_people_wrote_is_shown(world: World) -> None:
    page, log = world.page(), world.gateway.stdout + world.gateway.stderr
    assert "question 1" not in page + log
    assert "sk-fair" not in page + log
    assert "defect" not in page
