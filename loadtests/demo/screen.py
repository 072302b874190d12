"""Where progress is shown: a live view on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from loadtests.demo import view
from loadtests.demo.board import Board, PartState

_SIGN_OF_LIFE_S = 10.0
_PLAIN_WIDTH = 140


class Screen(Protocol):
    """Takes what is to be seen, as often as the caller likes."""

    def say(self, what: RenderableType) -> None:
        """Print something that stays."""

    def starting(self, parts: Sequence[PartState], elapsed_s: float) -> None:
        """Show the parts of the stack while they start."""

    def board(self, board: Board) -> None:
        """Show the run."""

    def settle(self) -> None:
        """Leave the last state standing; what comes next is shown below it."""


class LiveScreen:
    """A view that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, what: RenderableType) -> None:
        """Print above the live view, if there is one."""
        self._console.print(what, highlight=False, markup=False, soft_wrap=isinstance(what, str))

    def starting(self, parts: Sequence[PartState], elapsed_s: float) -> None:
        """Show the parts of the stack while they start."""
        self._draw(view.starting_table(parts, elapsed_s))

    def board(self, board: Board) -> None:
        """Show the run."""
        self._draw(view.board_tables(board))

    def settle(self) -> None:
        """End the live view."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, what: RenderableType) -> None:
        if self._live is None:
            self._live = Live(what, console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(what, refresh=True)


class LineScreen:
    """Lines for logs and pipes: what changed, and a sign of life on long waits."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._parts: tuple[PartState, ...] = ()
        self._board: Board | None = None
        self._spoke_s = 0.0

    def say(self, what: RenderableType) -> None:
        """Print it."""
        self._console.print(what, highlight=False, markup=False, soft_wrap=isinstance(what, str))

    def starting(self, parts: Sequence[PartState], elapsed_s: float) -> None:
        """Print the parts whose phase changed."""
        lines = view.starting_lines(self._parts, parts)
        if not lines and elapsed_s - self._spoke_s >= _SIGN_OF_LIFE_S:
            lines = view.waiting_lines(parts)
        if lines:
            self._spoke_s = elapsed_s
        self._parts = tuple(parts)
        self._print(lines)

    def board(self, board: Board) -> None:
        """Print the steps that ended."""
        lines = view.board_lines(self._board, board)
        self._board = board
        self._print(lines)

    def settle(self) -> None:
        """Print the last board whole."""
        if self._board is not None:
            self.say(view.board_tables(self._board))
            self._board = None

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.say(line)


@contextmanager
def shown() -> Iterator[Screen]:
    """Give the screen that suits stdout; a live view is never left behind."""
    console = Console(file=sys.stdout)
    screen = LiveScreen(console) if console.is_terminal else LineScreen(_plain())
    try:
        yield screen
    finally:
        screen.settle()


def _plain() -> Console:
    return Console(file=sys.stdout, width=_PLAIN_WIDTH, no_color=True)
