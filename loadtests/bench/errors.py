"""What can go wrong in a benchmark, in words for whoever started it."""

from __future__ import annotations


class BenchError(Exception):
    """`cause`: one line; `hint`: what to do."""

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
