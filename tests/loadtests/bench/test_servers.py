import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.bench import servers
from loadtests.bench.errors import BenchError
from loadtests.bench.procfs import used
from loadtests.bench.subjects import Subject
from loadtests.bench.workloads import plain

SERVER = """
import http.server, subprocess, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"{}")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


LONELY = "\n".join(line for line in SERVER.splitlines() if not line.startswith("subprocess"))


def test_ports_are_told_apart() -> None:
    assert len(set(servers.free_ports(20))) == 20


def test_a_server_is_ready_when_it_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    subject = Subject("s", (sys.executable, "-c", SERVER, str(port)), port, (0,), {})
    with servers.running(subject, tmp_path, plain(1)) as session:
        assert used(session).rss_bytes > 0
    assert used(session).rss_bytes == 0


def test_a_server_that_ends_is_quoted(tmp_path: Path) -> None:
    code = "import sys; print('one'); print('two'); sys.exit('three')"
    subject = Subject("s", (sys.executable, "-u", "-c", code), 1, (0,), {})
    with pytest.raises(BenchError, match="s did not start") as raised, servers.running(subject, tmp_path, plain(1)):
        pytest.fail("it never ran")
    assert raised.value.hint == "it did not listen / two / three"


def test_a_server_ends_with_whoever_started_it(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    starter = (
        "import os, sys, pathlib\n"
        "from loadtests.bench import servers, subjects, workloads\n"
        f"subject = subjects.Subject('s', (sys.executable, '-c', {LONELY!r}, '{port}'), {port}, (0,), {{}})\n"
        f"with servers.running(subject, pathlib.Path({str(tmp_path)!r}), workloads.plain(1)) as session:\n"
        "    print(session, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    deadline_s = time.monotonic() + 20
    leader = Path(f"/proc/{int(done.stdout)}")
    while leader.exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not leader.exists()


def test_the_file_limit_is_raised_to_what_the_system_allows() -> None:
    assert servers.raise_file_limit() >= 256


@pytest.mark.parametrize(
    ("page", "form"),
    [
        ('x 1\nglidepath_build_info{compiled="true",version="1"} 1.0\n', "compiled"),
        ('glidepath_build_info{version="1",compiled="false"} 1.0\n', "interpreted"),
        ("x 1\n", "unknown"),
    ],
)
def test_which_form_was_measured_is_read_from_the_gateway(page: str, form: str) -> None:
    assert servers.form_of(page) == form
