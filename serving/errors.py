"""What an operator is told when serving cannot go on: one line of cause, one line of what to do."""

from __future__ import annotations


class ServingError(Exception):
    """A foreseeable fault of serving. `exit_code` is the status the command ends with."""

    exit_code = 1

    def __init__(self, cause: str, hint: str = "", log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        self.log_tail = log_tail


class SpecError(ServingError):
    """The model spec is malformed or contradicts itself."""

    exit_code = 2


class InstallError(ServingError):
    """The vLLM environment is missing, broken, or cannot be made."""

    exit_code = 3


class PreflightError(ServingError):
    """Something vLLM needs is not there: model files, a free port."""

    exit_code = 4


class EngineError(ServingError):
    """vLLM itself failed, and restarting it did not or would not help."""

    exit_code = 5
