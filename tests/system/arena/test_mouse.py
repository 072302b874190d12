"""With the mouse: one vote for each pair, whatever is clicked twice or loaded again; ratings of several voters."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.core.votes import Choice
from tests.system.arena.conftest import ANSWERS, FEATURE, log_in

if TYPE_CHECKING:
    from tests.system.arena.browser import Browser
    from tests.system.traps.conftest import World

pytestmark = pytest.mark.system


def votes_of(world: World) -> list[Any]:
    async def read() -> list[Any]:
        store = SqliteStore(world.folder / "glidepath-data" / "glidepath.db")
        try:
            return await store.votes(FEATURE)
        finally:
            await store.close()

    return asyncio.run(read())


def vote(browser: Browser, verdict: str) -> None:
    browser.click(f"[data-vote={verdict}]")
    browser.until(lambda: browser.shows("#next:not(:disabled)"))


def go_on(browser: Browser, condition: str) -> None:
    # A click right after another one at the same place would be the second of a double click.
    browser.press("n")
    browser.until(lambda: browser.shows(condition) and not browser.shows(".model:not(:empty)"))


def test_a_double_click_is_one_vote_and_a_page_loaded_again_goes_on(world: World, browser: Browser) -> None:
    key = world.make_key(roles=["voter"])
    log_in(browser, world, key)
    asked = [browser.text("asked")]
    browser.double_click("[data-vote=left]")
    browser.until(lambda: browser.shows("#next:not(:disabled)"))
    assert "Your vote counts" in browser.text("status")
    assert browser.shows("#pair .model:not(:empty)")
    assert len(votes_of(world)) == 1
    log_in(browser, world, key)
    asked.append(browser.text("asked"))
    vote(browser, "skip")
    assert "Skipped." in browser.text("status")
    go_on(browser, "#pair")
    asked.append(browser.text("asked"))
    vote(browser, "both_bad")
    go_on(browser, "#next")
    assert len(set(asked)) == len(ANSWERS)
    choices = Counter(each.choice for each in votes_of(world))
    assert (choices[Choice.SKIP], choices[Choice.BOTH_BAD], choices.total()) == (1, 1, 3)
    assert browser.log("browser") == []


def test_votes_of_several_make_ratings_with_an_interval(world: World, browser: Browser) -> None:
    for verdict in ("tie", "left"):
        log_in(browser, world, world.make_key(roles=["voter"]))
        vote(browser, verdict)
    assert " voters; reference: partner" in browser.text("ratings-about")
    assert " % to " in browser.text("ratings-rows")
    assert browser.shows("#ratings table")
    assert browser.log("browser") == []


def test_who_comes_when_nothing_is_left_sees_the_ratings(world: World, browser: Browser) -> None:
    key = world.make_key(roles=["voter"])
    for _ in ANSWERS:
        log_in(browser, world, key)
        vote(browser, "tie")
    browser.open(f"{world.admin_url}/arena")
    browser.type("#key", key + "\ue007")
    browser.until(lambda: "nothing left" in browser.text("status") and browser.shows("#ratings"))
    assert "inhouse" in browser.text("ratings-rows")
