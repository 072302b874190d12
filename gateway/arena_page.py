"""The arena's page: three files without any data in them; the page asks the operator API with the voter's key."""

from pathlib import Path

from fastapi import FastAPI, Response

_FOLDER = Path(__file__).parent / "arena_static"
_FILES = {
    "/arena": ("arena.html", "text/html; charset=utf-8"),
    "/arena/arena.css": ("arena.css", "text/css; charset=utf-8"),
    "/arena/arena.js": ("arena.js", "text/javascript; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def add_arena_page(app: FastAPI) -> None:
    """Add the page and what belongs to it."""
    for path, (name, media_type) in _FILES.items():
        _add(app, path, (_FOLDER / name).read_bytes(), media_type)


def _add(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    @app.get(path, include_in_schema=False)
    async def show() -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)
