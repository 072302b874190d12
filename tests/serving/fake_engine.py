"""A declared stand-in for vLLM's process: it behaves badly on request. It computes nothing and names itself fake.

`python fake_engine.py --port N --name NAME [--flag ...]`; used through an explicit argv in tests of the supervisor's
handling of processes, never in place of a model.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLEEP = "import time; time.sleep(600)"


class Handler(BaseHTTPRequestHandler):
    options: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(503 if self.options.sick.exists() else 200, b"")
        elif self.path == "/v1/models":
            self._send(200, json.dumps({"data": [{"id": self.options.name}]}).encode())
        elif self.path == "/metrics":
            running = 1.0 if self.options.busy.exists() else 0.0
            text = f'vllm:num_requests_running{{engine="0"}} {running}\nvllm:num_requests_waiting{{engine="0"}} 0.0\n'
            self._send(200, text.encode())
        elif self.path == "/crash":
            os._exit(139 - 128)
        else:
            self._send(404, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.options.cold:
            self._send(500, b"the fake engine is cold")
        else:
            self._send(200, json.dumps({"usage": {"completion_tokens": 1}}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="fake")
    parser.add_argument("--say", default="the fake engine runs")
    parser.add_argument("--exit", type=int, help="die at once with this status")
    parser.add_argument("--signal", type=int, help="die at once by this signal")
    parser.add_argument("--hang", action="store_true", help="never listen")
    parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM, and let the children ignore it")
    parser.add_argument("--cold", action="store_true", help="fail every completion")
    parser.add_argument("--family", action="store_true", help="a child, and a grandchild in a session of its own")
    parser.add_argument("--busy", type=Path, default=Path("/nonexistent"), help="a request runs while this file exists")
    parser.add_argument("--sick", type=Path, default=Path("/nonexistent"), help="unhealthy while this file exists")
    return parser.parse_args()


def start_family() -> None:
    grandchild = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True);"
    subprocess.Popen([sys.executable, "-c", grandchild + SLEEP])


def main() -> int:
    chosen = options()
    if chosen.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if chosen.family:
        start_family()
    print(chosen.say, flush=True)  # noqa: T201  an engine talks to its log
    if chosen.signal is not None:
        os.kill(os.getpid(), chosen.signal)
    if chosen.exit is not None:
        return int(chosen.exit)
    while chosen.hang:
        time.sleep(60)
    Handler.options = chosen
    ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
