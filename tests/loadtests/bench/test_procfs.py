import os
import subprocess
import sys

from loadtests.bench.procfs import Stat, cores_s, parse_cores, parse_stat, used

STAT = (
    "1234 (a (strange) name) S 1 1234 77 0 -1 4194560 900 0 0 0 150 50 7 3 20 0 4 0 12345 104857600 2560 "
    "18446744073709551615 1 1 0 0 0 0 0"
)
TICKS = os.sysconf("SC_CLK_TCK")


def test_a_process_is_read_behind_its_name() -> None:
    assert parse_stat(STAT) == Stat(session=77, ticks=210, pages=2560)


def test_cores_count_processes_and_what_the_host_took_but_no_interrupts() -> None:
    text = (
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 10 40 5000 60 70 80 50 0 0\ncpu11 1 0 1 9 0 0 0 0 0 0\nintr 12 3\nctxt 9\n"
    )
    assert parse_cores(text) == {0: 200 / TICKS, 11: 2 / TICKS}


def test_a_session_is_summed_over_its_processes() -> None:
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE);"
        "print('up', flush=True); input(); child.communicate(b'\\n')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        both = used(process.pid)
        process.communicate(b"\n")
    assert both.rss_bytes > 1_000_000
    assert used(process.pid) == (0, 0)
    assert set(cores_s()) >= os.sched_getaffinity(0)
