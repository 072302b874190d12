"""Faults an operator of the load tests can foresee: one line of cause, one line of what to do."""


class LoadTestError(Exception):
    """Base of this package's errors; the composition root prints `cause` and `hint` and leaves with `exit_code`."""

    exit_code = 1

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class InvalidFileError(LoadTestError):
    """A scenario, simulator configuration or prompts file cannot be used as it stands."""

    exit_code = 2


class PortUnavailableError(LoadTestError):
    """The simulator could not listen where it was told to."""


class LocustMissingError(LoadTestError):
    """The load generator is an optional extra and isn't installed."""

    exit_code = 2


class LoadRunFailedError(LoadTestError):
    """The load generator ended without leaving a report to judge."""


class KeyRefusedError(LoadTestError):
    """The gateway does not take the key, or there is none; every request would be refused."""

    exit_code = 2
