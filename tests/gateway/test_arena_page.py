"""The page itself: what it is served with, and that page, script and API belong together."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import httpx2
import pytest
from fastapi import FastAPI

from gateway.arena_page import HEADERS, add_arena_page
from gateway.core.arena import Verdict

FOLDER = Path(__file__).parents[2] / "gateway" / "arena_static"
SCRIPT = (FOLDER / "arena.js").read_text("utf-8")
PAGE = (FOLDER / "arena.html").read_text("utf-8")


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def elements() -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(PAGE)
    return parser.found


@pytest.fixture
async def client(stack) -> httpx2.AsyncClient:
    app = FastAPI(openapi_url=None)
    add_arena_page(app)
    return await stack.enter_async_context(
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin")
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/arena", "text/html"), ("/arena/arena.js", "text/javascript"), ("/arena/arena.css", "text/css")],
)
async def test_files_come_with_a_strict_policy(client: httpx2.AsyncClient, path: str, kind: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert HEADERS.items() <= answer.headers.items()
    assert "default-src 'none'" in HEADERS["content-security-policy"]
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(elements) -> None:
    for text in (PAGE, SCRIPT, (FOLDER / "arena.css").read_text("utf-8")):
        assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    for tag, attributes in elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        if tag == "script":
            assert attributes["src"] == "/arena/arena.js"
        assert tag != "style"


def test_texts_get_into_the_page_as_text_only() -> None:
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert way not in SCRIPT


def test_the_script_uses_elements_that_are_there(elements) -> None:
    ids = {attributes["id"] for _, attributes in elements if "id" in attributes}
    assert set(re.findall(r'\bat\("([\w-]+)"\)', SCRIPT)) <= ids
    for _, attributes in elements:
        assert {attributes[name] for name in ("for", "aria-labelledby") if name in attributes} <= ids


def test_buttons_and_keys_are_the_votes_that_there_are(elements) -> None:
    verdicts = set(get_args(Verdict))
    buttons = {a["data-vote"]: a["aria-keyshortcuts"] for _, a in elements if "data-vote" in a}
    keys = dict(re.findall(r'(\w): "(\w+)"', SCRIPT.partition("KEYS = {")[2].partition("}")[0]))
    assert set(buttons) == verdicts
    assert {key: vote for vote, key in buttons.items()} == keys


def test_the_script_is_one() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the arena's script was NOT parsed")
    done = subprocess.run([node, "--check", str(FOLDER / "arena.js")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
