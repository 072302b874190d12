import io

from rich.console import Console

from loadtests.demo.course import Estimate, GateSaid
from loadtests.demo.money import Money, Saved
from loadtests.demo.summary import Exposure, ProofLine, RampLine
from loadtests.demo.summary_view import money_lines, summary

PROVEN = GateSaid("quality", "PASS", 25.04, 20.0, "", Estimate(0.012, -0.05, 0.074))
FAILED = GateSaid("errors-harm", "FAIL", 1234.5, 60.0, "", Estimate(-0.5, None, -0.1))
LINES = (
    RampLine("summarize", "good checkpoint", "promoted to 100 %", 71.25, Exposure(None, 900, 2_400), PROVEN),
    RampLine("proofread", "error burst", "rolled back", 5.31, Exposure(14, 60, 300), FAILED),
    RampLine("reply", "latency regression", "RUNNING", None, Exposure(3, 9, 30), None),
)
PROOFS = (ProofLine(5_000, 18.4, (PROVEN, PROVEN._replace(estimate=None))), ProofLine(25_000, 5.0, (PROVEN, None)))
MONEY = Money(1.1e-5, 6.2e-5, Saved(0.05, 0.04, 0.06, None), Saved(0.1, 0.09, 0.11, 86.4), ("half is a guess",))


def shown() -> str:
    console = Console(file=io.StringIO(), width=140, no_color=True)
    console.print(summary(LINES, PROOFS, MONEY))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_ramp_is_a_line_with_e_value_limit_and_interval() -> None:
    rows = [" ".join(line.split()) for line in shown().splitlines()]
    assert (
        "summarize good checkpoint promoted to 100 % 71.2 s - 900 of 2400 quality 25 20 +0.012 [-0.050, +0.074]" in rows
    )
    assert "proofread error burst rolled back 5.3 s 14 60 of 300 errors-harm 1.23e+03 60 -0.500 [?, -0.100]" in rows
    assert "reply latency regression RUNNING - 3 9 of 30 - -" in rows


def test_each_step_is_a_line_with_its_proofs() -> None:
    rows = [" ".join(line.split()) for line in shown().splitlines()]
    assert "5 % 18.4 s 25 20 +0.012 [-0.050, +0.074] 25 20" in rows
    assert "25 % 5.0 s 25 20 +0.012 [-0.050, +0.074] -" in rows


def test_money_is_told_with_intervals_and_notes() -> None:
    assert money_lines(MONEY)[1:] == [
        "Money: a request of summarize costs $0.000011 against $0.000062 at the partner",
        "  saved so far     $0.0500 [$0.0400, $0.0600]",
        "  saved at 100 %   $0.1000 [$0.0900, $0.1100], $86.40 a day at this traffic",
        "  note: half is a guess",
    ]
    (line,) = money_lines(Money(None, 6.2e-5, None, None, ()))[1:]
    assert line.endswith("costs - against $0.000062 at the partner")
    assert money_lines(MONEY._replace(in_full=MONEY.so_far))[3].endswith("$0.0600]")
