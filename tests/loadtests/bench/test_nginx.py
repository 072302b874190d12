from pathlib import Path

from loadtests.bench import nginx
from loadtests.bench.workloads import Workload


def test_a_long_answer_is_cut_into_pieces_nginx_takes(tmp_path: Path) -> None:
    answer = "it's \\ " + "x" * 5_000
    argv = nginx.upstream(tmp_path, Workload("w", "{}", answer, "text/plain"), 1234)
    text = Path(argv[-1]).read_text()
    assert text.count("set $piece") == 3
    assert "it\\'s \\\\ " in text
    assert "return 200 '${piece0}${piece1}${piece2}'" in text


def test_one_worker_is_one_process_and_more_share_the_port(tmp_path: Path) -> None:
    one, two = (Path(nginx.proxy(tmp_path, 1, port, workers)[-1]).read_text() for port, workers in ((2, 1), (3, 2)))
    assert "master_process off;" in one
    assert "reuseport" not in one
    assert "worker_processes 2;" in two
    assert "listen 127.0.0.1:3 backlog=4096 reuseport;" in two
    assert "server 127.0.0.1:1; keepalive" in two
