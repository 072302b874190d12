import io

from rich.console import Console, RenderableType

from loadtests.demo import view
from loadtests.demo.board import ArmLine, Board, PartState, StageLine
from loadtests.demo.course import GateSaid, Held, Standing
from loadtests.demo.judge import Verdict
from loadtests.demo.plan import stage_names
from loadtests.demo.sample import BASELINE, CANDIDATE

ARMS = (
    ArmLine("summarize", CANDIDATE, 12, 0.0314, 0.05, 0.2, 0.3, 0.975),
    ArmLine("summarize", BASELINE, 0, None, None, None, None, None),
)


BAKING = Standing(
    "summarize",
    7,
    5_000,
    killed=False,
    phase="RUNNING",
    step=1,
    steps=5,
    holds=(Held("baking", "baking: 1 s of 5 s"), Held("inconclusive", "inconclusive: gate e: 3 of 9 samples")),
    said=(GateSaid("e", "PASS", 0.0, 0.1),),
)


def stages(now: int) -> tuple[StageLine, ...]:
    begun = [StageLine(name, "done" if at < now else "now", 0.01, 5, 100) for at, name in enumerate(stage_names())]
    to_come = [StageLine(name, "to come", None, 0, 0) for name in stage_names()]
    return (*begun[: now + 1], *to_come[now + 1 :])


def board(now: int, kill: str = "not pulled", problems: int = 0, ramp: Standing = BAKING) -> Board:
    return Board(12.5, (ramp,), stages(now), ARMS, kill, 300, problems)


def text_of(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=140, no_color=True)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_has_shares_times_and_quality() -> None:
    text = text_of(view.board_tables(board(1)))
    assert "12.5 s   300 requests   kill switch of summarize: not pulled" in text
    assert "summarize: RUNNING, step 1 of 0..4, share 5 %; baking: 1 s of 5 s" in text
    assert "gate e PASS 0, limit 0.1" in text
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
    assert "summarize 1 %: 1% in force, measured 5.0% (2.2% to 11.2%) of 100 conversations" in line
    assert line.endswith("300 requests, 2 failed")
    (kill,) = view.board_lines(board(4), board(4, "PULLED"))
    assert kill.endswith("kill switch of summarize: PULLED")


def test_a_ramps_line_is_told_when_more_than_its_numbers_change() -> None:
    later = BAKING._replace(holds=(Held("baking", "baking: 2 s of 5 s"),))
    assert view.board_lines(board(1), board(1, ramp=later)) == []
    (line,) = view.board_lines(board(1), board(1, ramp=later._replace(holds=(Held("no_data", "no_data: gate e"),))))
    assert line == "[ 12.5 s] summarize: RUNNING, step 1 of 0..4, share 5 %; no_data: gate e"
    (line,) = view.board_lines(
        board(1), board(1, ramp=BAKING._replace(phase="COMPLETED", share_millipct=100_000, holds=()))
    )
    assert line.endswith("summarize: COMPLETED, step 1 of 0..4, share 100 %")


def test_a_ramp_that_has_not_begun_has_no_step() -> None:
    ready = BAKING._replace(phase="READY", step=-1, share_millipct=0, holds=())
    assert view.ramp_line(ready) == "summarize: READY, share 0 %"
    assert view.ramp_line(ready._replace(phase=None)) == "summarize: no ramp"


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
    found = (Verdict("a", ok=True, found="x [1]"), Verdict("b", ok=False, found="y"))
    text = text_of(view.verdict_table((*found, Verdict("c", ok=True, found="SKIPPED: z", skipped=True))))
    assert "skipped  c" in text
    assert "FAILED   b" in text
    assert "x [1]" in text
