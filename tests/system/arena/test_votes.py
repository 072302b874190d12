"""People vote in a real browser: from two answers that nobody can tell apart to ratings and training data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.core.votes import Choice
from tests.system.arena.conftest import ANSWERS, FEATURE, log_in
from tests.system.traps.caller import KEY

if TYPE_CHECKING:
    from tests.system.arena.browser import Browser
    from tests.system.traps.conftest import World

pytestmark = pytest.mark.system

REVEALING = ("inhouse", "partner", "candidate", "baseline", "-sim")
OURS, THEIRS = ({said[which].strip() for said in ANSWERS.values()} for which in (0, 1))


def traffic(browser: Browser) -> str:
    """All that went over the network since it was asked last: addresses, headers and bodies, both ways."""
    told = []
    for entry in browser.log("performance"):
        event = json.loads(entry["message"])["message"]
        if not event["method"].startswith("Network."):
            continue
        told.append(json.dumps(event["params"]))
        if event["method"] == "Network.responseReceived" and event["params"]["response"]["url"].startswith("http"):
            told.append(browser.cdp("Network.getResponseBody", requestId=event["params"]["requestId"])["body"])
    return "\n".join(told)


def document(browser: Browser) -> str:
    """All of the page as it is now, its title and what it keeps in the browser."""
    places = "[document.documentElement.outerHTML, document.title, location.href, document.cookie,"
    return str(browser.value(f"{places} JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join('\\n')"))


def better(browser: Browser) -> str:
    """The key to press for our own answer, whichever side it stands on; both are shown as they were given."""
    left, right = browser.text("left").strip(), browser.text("right").strip()
    assert (left in OURS, right in THEIRS) in {(True, True), (False, False)}
    assert {left, right} in [{each.strip() for each in said} for said in ANSWERS.values()]
    return "a" if left in OURS else "b"


def vote(browser: Browser, key: str) -> dict[str, str]:
    """Vote with a key; whose answers they were, by the key that is for them."""
    browser.press(key)
    browser.until(lambda: browser.shows("#next"))
    return {"a": browser.text("left-model"), "b": browser.text("right-model")}


async def votes_of(world: World) -> list[Any]:
    store = SqliteStore(world.folder / "glidepath-data" / "glidepath.db")
    try:
        return await store.votes(FEATURE)
    finally:
        await store.close()


async def test_from_shadow_pairs_to_votes_ratings_and_training_data(
    world: World, browser: Browser, module_command: Any
) -> None:
    log_in(browser, world, world.make_key(roles=["voter"]))
    for left in range(len(ANSWERS) - 1, -1, -1):
        before = traffic(browser) + document(browser)
        if left == len(ANSWERS) - 1:  # later on, the ratings say which models there are
            assert '"ticket":' in before
            assert not [word for word in REVEALING if word in before.lower()]
        assert [browser.text("left-model"), browser.text("right-model")] == ["", ""]
        ours = better(browser)
        told = vote(browser, ours)
        assert {told[ours], *told.values()} == {"inhouse", "partner"}
        assert told[ours] == "inhouse"
        assert "inhouse" in browser.text("ratings-rows")
        browser.press("n")
        browser.until(
            lambda left=left: browser.shows("#pair") == bool(left) and not browser.shows(".model:not(:empty)")
        )
    assert "nothing left" in browser.text("status")
    assert browser.value("window.harm") is None
    assert browser.log("browser") == []

    votes = await votes_of(world)
    assert [(each.choice, each.voter, each.candidate) for each in votes] == [
        (Choice.CANDIDATE, votes[0].voter, "inhouse")
    ] * len(ANSWERS)
    environment = {"GLIDEPATH_ADMIN_URL": world.admin_url, "GLIDEPATH_API_KEY": KEY}
    export = module_command("rollout", "export-pairs", FEATURE, "--out", "pairs.jsonl", **environment)
    assert export.end() == 0, export.stderr
    lines = [json.loads(line) for line in (world.folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert {(each["source"], each["chosen_model"], each["rejected_model"]) for each in lines} == {
        ("arena", "inhouse", "partner")
    }
    assert {(each["prompt"][0]["content"], each["chosen"][0]["content"].strip()) for each in lines} == {
        (question, said[0].strip()) for question, said in ANSWERS.items()
    }
    (noted,) = map(json.loads, (world.folder / "glidepath-data" / "exports.jsonl").read_text("utf-8").splitlines())
    assert (noted["feature"], noted["format"]) == (FEATURE, "preference")


def test_markup_in_a_text_is_text(world: World, browser: Browser) -> None:
    log_in(browser, world, world.make_key(roles=["voter"]))
    seen = set()
    for _ in ANSWERS:
        seen |= {browser.text("left").strip(), browser.text("right").strip()}
        assert (
            browser.value("document.querySelectorAll('#left *, #right *, .turn *, main img, main script').length") == 0
        )
        vote(browser, "s")
        browser.press("n")
        browser.until(lambda: not browser.shows(".model:not(:empty)"))
    assert seen == OURS | THEIRS
    assert browser.value("window.harm") is None
    assert browser.log("browser") == []


def test_what_the_policy_forbids_would_be_noticed(world: World, browser: Browser) -> None:
    """The log that the other tests want empty is not empty for want of looking."""
    browser.open(f"{world.admin_url}/arena")
    assert browser.log("browser") == []
    browser.value("document.body.setAttribute('style', 'color: red')")
    browser.value("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    found: list[str] = []

    def told() -> bool:
        found.extend(entry["message"] for entry in browser.log("browser"))
        return all(any(word in message for message in found) for word in ("style", "x.png"))

    browser.until(told)
    assert browser.value("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
