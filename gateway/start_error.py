"""Why the gateway can't start, or can't go on."""

from __future__ import annotations


class StartError(Exception):
    """The gateway can't start or go on. `cause`: one line; `hint`: what to do."""

    exit_code = 1

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
