import io

from rich.console import Console

from loadtests.demo.board import PartState, make_board
from loadtests.demo.course import Stage
from loadtests.demo.screen import LineScreen, LiveScreen

VLLM = PartState("vllm", "starting", 1.0, "loading")


def output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plain() -> Console:
    return Console(file=io.StringIO(), width=140, no_color=True)


def test_lines_are_printed_when_something_changes_and_as_a_sign_of_life() -> None:
    console = plain()
    screen = LineScreen(console)
    for elapsed_s in (1.0, 1.5, 2.0, 11.5, 12.0):
        screen.starting((VLLM._replace(elapsed_s=elapsed_s),), elapsed_s)
    screen.starting((PartState("vllm", "ready", 12.5),), 12.5)
    assert output(console).splitlines() == [
        "vllm: starting, 1 s: loading",
        "vllm: starting, 12 s: loading",
        "vllm: ready after 12.5 s",
    ]


def test_lines_of_a_run_end_with_the_whole_board_once() -> None:
    console = plain()
    screen = LineScreen(console)
    first, second = Stage("1 %", 1_000, killed=False, first=1), Stage("5 %", 5_000, killed=False, first=2)
    screen.board(make_board(1.0, [first], [], [], "not pulled"))
    screen.board(make_board(2.0, [first._replace(until=2), second], [], [], "not pulled"))
    screen.settle()
    screen.settle()
    text = output(console)
    assert text.startswith("[  2.0 s] summarize 1 %: 1% in force")
    assert text.count("Share of summarize") == 1


def test_text_is_printed_as_it_is_however_long() -> None:
    console = plain()
    LineScreen(console).say("curl -d '[not markup]' " + "x" * 300)
    assert output(console) == "curl -d '[not markup]' " + "x" * 300 + "\n"


def test_a_live_view_is_drawn_over_and_left_behind_settled() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    screen = LiveScreen(console)
    screen.starting((VLLM,), 1.0)
    screen.say("[vllm] said")
    screen.board(make_board(1.0, [], [], [], "not pulled"))
    screen.settle()
    screen.settle()
    text = output(console)
    assert "[vllm] said" in text
    assert text.rstrip().endswith("\x1b[?25h")
    screen.say("after")
    assert output(console).endswith("after\n")
