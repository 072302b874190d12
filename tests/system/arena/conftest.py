"""A gateway before one simulator for each arm, pairs of their answers in its spool, and a browser to look at them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.keeping import Texts
from gateway.spool_files import SPOOL_FOLDER, SpoolFiles
from rollout.core.model import BUCKETS, Keep, Shadow
from tests.system.arena.browser import ENTER, Browser
from tests.system.traps.caller import chat
from tests.system.traps.conftest import Simulator, World, start_world, until
from tests.system.traps.test_shadow import change, first_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FEATURE = "summarize"
MARKUP = "<script>window.harm=1</script><img src=/harm onerror=window.harm=2><b onclick=harm()>bold</b> & &lt;i&gt;"
LONG = "A line of an answer that goes on and on.\n" * 120
# Question -> what the candidate says, what the baseline says.
ANSWERS = {
    f"Is {MARKUP} safe?": (f"Ours: {MARKUP}", f"Theirs: {MARKUP} </div></body>"),
    "Tell a long story.": (f"Ours begins. {LONG}", f"Theirs begins. {LONG}"),
    "What is the capital of France?": ("It is Paris, in the north.", "Paris."),
}
SHADOW = Shadow(millipct=BUCKETS, daily_budget=1_000, max_concurrent=8, keep=Keep(pairs=True))
CONFIG = """
[server]
port = 0
workers = 1
[admin]
port = 0
[upstreams.inhouse]
kind = "vllm"
base_urls = ["{inhouse}/v1"]
model = "inhouse-sim"
[upstreams.partner]
kind = "openai"
base_urls = ["{partner}/v1"]
model = "partner-sim"
[features.summarize]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture(scope="session")
def chromium() -> None:
    """Where it must be there, its absence is a failure."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        cause = f"{' and '.join(missing)} not installed: the arena was NOT shown (apt install chromium chromium-driver)"
        pytest.fail(cause) if os.environ.get("CI") else pytest.skip(cause)


def pairs_in(world: World) -> list[Texts]:
    """Pairs in the spool that there is a choice in."""
    lines = SpoolFiles(world.folder / "glidepath-data" / SPOOL_FOLDER).read(FEATURE)
    kept = (line for line in lines if isinstance(line, Texts) and line.candidate and line.baseline)
    return [each for each in kept if each.candidate.text != each.baseline.text]


def _start_arm(start: Callable[..., Any], folder: Path, name: str, which: int) -> str:
    """A simulator that knows its own answers by heart; its URL."""
    lines = [
        {"task": "arena", "messages": [{"role": "user", "content": question}], "reference": said[which]}
        for question, said in ANSWERS.items()
    ]
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    known = ("--references", f"{name}.jsonl", "--accuracy", "1", "--model", f"{name}-sim")
    timing = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
    return str(start("simulator", "--port", "0", *known, *timing).shown(r"READY (http://\S+)/v1")[1])


async def _fill(world: World) -> None:
    """Every request of the feature has a shadow, and both answers are kept: one pair for each question is there."""
    await change(world, FEATURE, shadow=SHADOW)
    await first_one(world, FEATURE)
    line = world.line()
    for question in ANSWERS:
        assert (await line.ask(chat(question, FEATURE))).status == 200
    line.close()
    await until(lambda: len(pairs_in(world)) == len(ANSWERS))


@pytest.fixture(scope="module")
def world(module_command: Callable[..., Any], module_folder: Path, chromium: None) -> Iterator[World]:
    """The tests of one file share it; each votes with a key of its own."""
    inhouse, partner = (_start_arm(module_command, module_folder, *arm) for arm in (("inhouse", 0), ("partner", 1)))
    text = CONFIG.format(inhouse=inhouse, partner=partner)
    with (
        closing(Simulator(partner, partner)) as simulator,
        closing(start_world(module_command, module_folder, simulator, text)) as started,
    ):
        asyncio.run(_fill(started))
        yield started


@pytest.fixture
def browser(tmp_path: Path, chromium: None) -> Iterator[Browser]:
    """A new one, which nobody has used."""
    with closing(Browser(tmp_path)) as started:
        yield started


def log_in(browser: Browser, world: World, key: str) -> None:
    """Open the page with a key, and wait for the first pair."""
    browser.open(f"{world.admin_url}/arena")
    browser.type("#key", key + ENTER)
    browser.until(lambda: browser.shows("#pair"))
