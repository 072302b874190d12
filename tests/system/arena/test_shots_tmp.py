from __future__ import annotations
from pathlib import Path
import pytest
from tests.system.arena.browser import ENTER
from tests.system.arena.conftest import ANSWERS, log_in
OUT = Path("/tmp/exp/s7/shots"); OUT.mkdir(exist_ok=True)
def test_shots(world, browser):
    for screen, (w, h) in {"desktop": (1280, 800), "phone": (390, 844)}.items():
        for scheme in ("light", "dark"):
            browser.cdp("Emulation.setDeviceMetricsOverride", width=w, height=h, deviceScaleFactor=1, mobile=screen == "phone")
            browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            n = [0]
            def shot(name):
                (OUT / f"{screen}-{scheme}-{name}.png").write_bytes(browser.picture())
            browser.open(f"{world.admin_url}/arena")
            shot("0login")
            browser.type("#key", "gp-x" + ENTER)
            browser.until(lambda: "no valid" in browser.text("status"))
            shot("1bad")
            log_in(browser, world, world.make_key(roles=["voter"]))
            for i in range(len(ANSWERS)):
                shot(f"2pair{i}")
                browser.press("a")
                browser.until(lambda: "Your vote" in browser.text("status"))
                shot(f"3voted{i}")
                browser.press("n")
                browser.until(lambda: not browser.shows(".model:not(:empty)"))
            shot("4none")
