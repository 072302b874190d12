"""What the page says and shows when there is no pair, no key that opens it or no network; on screens of any kind."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollout.core.keys import digest, key_id
from rollout.core.model import Shadow
from tests.system.arena.browser import ENTER
from tests.system.arena.conftest import ANSWERS, FEATURE, SHADOW, log_in
from tests.system.traps.conftest import at_once
from tests.system.traps.test_shadow import change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.arena.browser import Browser
    from tests.system.traps.conftest import World

pytestmark = pytest.mark.system

POOR_CONTRAST = (Path(__file__).parent / "looks.js").read_text("utf-8")
SCREENS = {"desktop": (1280, 800), "phone": (390, 844)}


def says(browser: Browser, what: str) -> None:
    browser.until(lambda: what in browser.text("status"))


def faults(browser: Browser) -> list[str]:
    """What the console has but for answers that are errors, which a browser always notes there."""
    return [entry["message"] for entry in browser.log("browser") if entry["source"] != "network"]


@contextmanager
def offline(browser: Browser) -> Iterator[None]:
    nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.cdp("Network.emulateNetworkConditions", offline=True, **nothing)
    yield
    browser.cdp("Network.emulateNetworkConditions", offline=False, **nothing)


def votes_of(world: World) -> int:
    return world.operator("GET", f"/features/{FEATURE}/ratings")["votes"]


def test_a_key_that_opens_nothing_is_asked_for_again(world: World, browser: Browser) -> None:
    browser.open(f"{world.admin_url}/arena")
    browser.type("#key", "gp-unknown" + ENTER)
    says(browser, "opens nothing")
    assert browser.shows("#login")
    browser.value("document.getElementById('key').value = ''")
    browser.type("#key", world.make_key(roles=["viewer"]) + ENTER)
    says(browser, "lacks the role 'voter' or 'operator'")
    browser.value("document.getElementById('key').value = ''")
    browser.type("#key", world.make_key(roles=["voter"]) + ENTER)
    browser.until(lambda: browser.shows("#pair"))
    assert not browser.shows("#login")
    assert faults(browser) == []


def test_a_key_that_ends_meanwhile_takes_the_texts_away(world: World, browser: Browser) -> None:
    key = world.make_key(roles=["voter"])
    log_in(browser, world, key)
    world.operator("POST", f"/keys/{key_id(digest(key))}/revoke", {"reason": "a test"})
    browser.press("a")
    says(browser, "opens nothing")
    assert browser.shows("#login")
    assert [browser.text(name) for name in ("asked", "left", "right")] == ["", "", ""]
    assert faults(browser) == []


def test_who_signs_out_leaves_nothing(world: World, browser: Browser) -> None:
    key = world.make_key(roles=["voter"])
    log_in(browser, world, key)
    browser.click("#leave")
    assert browser.shows("#login")
    assert [browser.text(name) for name in ("asked", "left", "right")] == ["", "", ""]
    kept = "document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie"
    assert key not in browser.value(kept)
    assert browser.value("document.getElementById('key').value") == ""


def test_a_vote_that_the_network_lost_can_be_given_again(world: World, browser: Browser) -> None:
    log_in(browser, world, world.make_key(roles=["voter"]))
    before = votes_of(world)
    with offline(browser):
        browser.press("t")
        says(browser, "could not be reached")
        assert browser.shows("#votes button:not(:disabled)")
        browser.press("n")
        browser.until(lambda: browser.text("next-name") == "Try again" and browser.shows("#next:not(:disabled)"))
    assert votes_of(world) == before
    browser.press("n")
    says(browser, "Read both answers")
    browser.press("t")
    says(browser, "Your vote counts")
    assert votes_of(world) == before + 1
    assert faults(browser) == []


def test_without_features_that_keep_pairs_there_is_a_way_on(world: World, browser: Browser) -> None:
    key = world.make_key(roles=["voter"])
    asyncio.run(change(world, FEATURE, shadow=Shadow()))
    try:
        at_once(lambda: world.operator("GET", "/arena/features")["features"] == [])
        browser.open(f"{world.admin_url}/arena")
        browser.type("#key", key + ENTER)
        says(browser, "No feature keeps pairs")
    finally:
        asyncio.run(change(world, FEATURE, shadow=SHADOW))
    at_once(lambda: world.operator("GET", "/arena/features")["features"] == [FEATURE])
    browser.press("n")
    browser.until(lambda: browser.shows("#pair"))
    assert faults(browser) == []


@pytest.mark.parametrize(("screen", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_everything_can_be_read_and_reached(world: World, browser: Browser, screen: str, scheme: str) -> None:
    width, height = SCREENS[screen]
    browser.cdp(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=screen == "phone"
    )
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def check() -> None:
        assert browser.value(POOR_CONTRAST) == []
        assert browser.value("document.documentElement.scrollWidth") <= width

    browser.open(f"{world.admin_url}/arena")
    check()
    log_in(browser, world, world.make_key(roles=["voter"]))
    for _ in ANSWERS:
        check()
        within = "(({top, bottom}) => top >= 0 && bottom <= innerHeight)"
        assert browser.value(f"{within}(document.getElementById('votes').getBoundingClientRect())")
        browser.press("t")
        says(browser, "Your vote counts")
        check()
        browser.press(ENTER)
        browser.until(lambda: not browser.shows(".model:not(:empty)"))
    says(browser, "nothing left")
    check()
    outline = (
        "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
    )
    browser.until(lambda: browser.value(outline) == ["solid", "3px"])
    assert faults(browser) == []
