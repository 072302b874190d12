import pytest

from loadtests.bench.errors import BenchError
from loadtests.bench.workloads import Workload
from loadtests.bench.wrk import parse, script

REPORT = """Running 3s test @ http://127.0.0.1:9200/v1/chat/completions
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.37ms    1.02ms  21.31ms   91.14%
    Req/Sec    27.18k     1.77k   30.20k    83.33%
  Latency Distribution
     50%  812.00us
     75%    2.61ms
     90%    3.11ms
     99%    1.20s
  81132 requests in 3.00s, 61.05MB read
Requests/sec:  27043.21
Transfer/sec:     20.35MB
"""


def test_a_report_is_read_in_seconds() -> None:
    load = parse(REPORT)
    assert (load.requests, load.duration_s, load.p50_s, load.p99_s, load.failures) == (81_132, 3.0, 812e-6, 1.2, 0)
    assert load.requests_per_s == pytest.approx(27_044)


def test_bad_answers_and_socket_errors_are_failures() -> None:
    text = REPORT + "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 90\n"
    assert parse(text).failures == 100


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused", REPORT.replace("99%", "")])
def test_what_is_no_report_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="no report"):
        parse(text)


def test_the_script_quotes_the_body_and_lets_users_take_turns() -> None:
    workload = Workload("w", '{"a": "it\'s\\n", "user": "u-?"}', "", "")
    lua = script(workload, "key")
    assert 'wrk.format(nil, nil, nil, \'{"a": "it\\\'s\\\\n", "user": "\' .. user .. \'"}\')' in lua
    assert "local users, requests, turn = {'u-00', 'u-01'," in lua
    assert '"Bearer key"' in lua
