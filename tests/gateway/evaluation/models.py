"""A model that answers as a test says, on a real port."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OK = 200


class Reply:
    """What one request gets: a status, header lines, and the bytes of the body."""

    def __init__(self, body: bytes = b"", status: int = OK, **headers: str) -> None:
        self.body, self.status, self.headers = body, status, headers


def says(text: str, finish: str | None = "stop", *, done: bool = True, usage: bool = True) -> Reply:
    """A streamed answer of two events."""
    half = len(text) // 2
    deltas: list[dict[str, Any]] = [
        {"delta": {"content": text[:half]}},
        {"delta": {"content": text[half:]}, "finish_reason": finish},
    ]
    events: list[dict[str, Any]] = [{"choices": [each | {"index": 0}]} for each in deltas]
    if usage:
        events.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    return Reply(body + b"data: [DONE]\n\n" * done, **{"content-type": "text/event-stream"})


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A caller who has left is no error here."""


class Model:
    """`reply` maps a request to its reply; `asked` keeps (request, authorization)."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str | None]] = []
        self.reply: Callable[[dict[str, Any]], Reply] = lambda _: says("fine")
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.asked.append((request, self.headers["authorization"]))
                reply = model.reply(request)
                self.send_response(reply.status)
                for name, value in ({"content-length": str(len(reply.body))} | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
