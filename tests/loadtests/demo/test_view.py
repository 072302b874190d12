import io

from rich.console import Console, RenderableType

from loadtests.demo import view
from loadtests.demo.board import ArmLine, Board, PartState, StepLine
from loadtests.demo.judge import Verdict
from loadtests.demo.plan import STEPS
from loadtests.demo.sample import BASELINE, CANDIDATE

ARMS = (
    ArmLine("summarize", CANDIDATE, 12, 0.0314, 0.05, 0.2, 0.3, 0.975),
    ArmLine("summarize", BASELINE, 0, None, None, None, None, None),
)


def steps(now: int) -> tuple[StepLine, ...]:
    states = ["done" if number < now else "now" if number == now else "to come" for number in range(len(STEPS))]
    return tuple(
        StepLine(step, state, 5, 100) if state != "to come" else StepLine(step, state, 0, 0)
        for step, state in zip(STEPS, states, strict=True)
    )


def board(now: int, kill: str = "not pulled", problems: int = 0) -> Board:
    return Board(12.5, steps(now), ARMS, kill, 300, problems)


def text_of(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=140, no_color=True)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_has_shares_times_and_quality() -> None:
    text = text_of(view.board_tables(board(1)))
    assert "12.5 s   300 requests   kill switch of summarize: not pulled" in text
    assert "2.2% to 11.2%" in text
    assert "31 ms" in text
    assert "97.5%" in text
    assert "in-house (vLLM)" in text
    assert "FAILED" not in text


def test_failures_are_seen_while_it_runs() -> None:
    assert "3 FAILED" in text_of(view.board_tables(board(1, problems=3)))


def test_lines_tell_what_is_new_once() -> None:
    assert view.board_lines(None, board(0)) == []
    assert view.board_lines(board(0), board(0)) == []
    (line,) = view.board_lines(board(0), board(1, problems=2))
    assert "summarize 1 %: asked 1%, measured 5.0% (2.2% to 11.2%) of 100 conversations" in line
    assert line.endswith("300 requests, 2 failed")
    (kill,) = view.board_lines(board(4), board(4, "PULLED"))
    assert kill.endswith("kill switch of summarize: PULLED")


def test_parts_are_told_when_their_phase_changes() -> None:
    waiting, starting = PartState("vllm", "waiting", 0.0), PartState("vllm", "starting", 3.4, "loading")
    ready = PartState("vllm", "ready", 33.25, "whatever")
    assert view.starting_lines((), (waiting,)) == []
    assert view.starting_lines((waiting,), (starting,)) == ["vllm: starting, 3 s: loading"]
    assert view.starting_lines((starting,), (starting,)) == []
    assert view.starting_lines((starting,), (ready,)) == ["vllm: ready after 33.2 s"]
    assert view.waiting_lines((waiting, starting, ready)) == ["vllm: starting, 3 s: loading"]


def test_the_starting_table_shows_the_last_words_of_those_not_ready() -> None:
    parts = (
        PartState("prompts", "ready", 0.5, "written"),
        PartState("vllm", "starting", 3.4, "[1/2] loading"),
        PartState("gateway", "waiting", 0.0),
    )
    long = PartState("environment", "starting", 126.0, "checking " * 30)
    text = text_of(view.starting_table((*parts, long), 3.9))
    assert "environment  starting  126.0 s  checking" in text
    assert max(map(len, text.splitlines())) <= 140
    assert text.count("\n") == 2 + len(parts) + 1
    assert "Starting, 4 s" in text
    assert "[1/2] loading" in text
    assert "written" not in text


def test_verdicts_show_what_failed() -> None:
    text = text_of(view.verdict_table((Verdict("a", ok=True, found="x [1]"), Verdict("b", ok=False, found="y"))))
    assert "FAILED  b" in text
    assert "x [1]" in text
