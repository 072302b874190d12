"""A real Chromium, driven over the WebDriver protocol (W3C), which is plain HTTP and JSON."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 60.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER = "\ue007"
"""What the protocol calls the enter key."""
# Chromium refuses its sandbox to root; the rest keeps it from talking to anybody but the page's server.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--disable-dev-shm-usage",
)


class Browser:
    """One window; `folder` is where its profile and its driver's output go."""

    def __init__(self, folder: Path) -> None:
        self._profile = folder / "profile"
        self._log = folder / "chromedriver.log"
        inherited = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
        with self._log.open("wb") as log:
            self._driver = subprocess.Popen(
                ["chromedriver", "--port=0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=inherited,
                start_new_session=True,
            )
        self._http = httpx2.Client(timeout=DEADLINE_S, trust_env=False)
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            self._base = f"{self._base}/{self._new_session(self._profile)}"
        except BaseException:
            self._kill()
            raise

    def close(self) -> None:
        """End it, and whatever of it is left."""
        try:
            self._http.delete(self._base)
        finally:
            self._kill()

    def open(self, url: str) -> None:
        """Load a page."""
        self._post("url", {"url": url})

    def cdp(self, command: str, **params: Any) -> Any:
        """Do what WebDriver has no words for, in Chromium's own."""
        return self._post("goog/cdp/execute", {"cmd": command, "params": params})

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is; the page's policy does not apply to it."""
        found = self.cdp("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, element_id: str) -> str:
        """The text of an element as it is in the document."""
        return str(self.value(f"document.getElementById({json.dumps(element_id)}).textContent"))

    def shows(self, selector: str) -> bool:
        """Whether there is such an element to be seen."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return bool(self.value(f"{found}.some((each) => each.checkVisibility())"))

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self._post(f"element/{self._find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Click where it is; it must be in reach, not covered by anything."""
        self._post(f"element/{self._find(selector)}/click", {})

    def double_click(self, selector: str) -> None:
        """Two clicks at one place, slow enough for an answer to come in between."""
        origin = {ELEMENT: self._find(selector)}
        actions: list[dict[str, Any]] = [{"type": "pointerMove", "origin": origin, "x": 0, "y": 0}]
        click = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        actions += [*click, {"type": "pause", "duration": 200}, *click]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self._post("actions", {"actions": [mouse]})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What is new in a log: "browser" (console, violations of the policy), "performance" (the network's)."""
        return list(self._post("se/log", {"type": kind}))

    def picture(self) -> bytes:
        """PNG of what is in the window."""
        return base64.b64decode(self._get("screenshot"))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the page has come so far."""
        limit_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < limit_s, self.value("document.body.innerText")
            time.sleep(0.02)

    def _port(self) -> int:
        limit_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < limit_s and self._driver.poll() is None:
            if found := re.search(r"started successfully on port (\d+)", self._log.read_text("utf-8")):
                return int(found[1])
            time.sleep(0.02)
        raise AssertionError(self._log.read_text("utf-8"))

    def _new_session(self, profile: Path) -> str:
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        answer = self._http.post(self._base, json={"capabilities": {"alwaysMatch": wanted}})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["value"]["sessionId"])

    def _find(self, selector: str) -> str:
        return str(self._post("element", {"using": "css selector", "value": selector})[ELEMENT])

    def _get(self, path: str) -> Any:
        answer = self._http.get(f"{self._base}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(f"{self._base}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def _kill(self) -> None:
        self._http.close()
        if self._driver.poll() is None:
            os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait()
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left(self) -> list[int]:
        """Processes of the browser that outlived its driver."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if os.fsencode(self._profile) in path.read_bytes():
                    found.append(int(path.parent.name))
        return found
