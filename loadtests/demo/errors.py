"""Why the demo or the stack under it could not go on."""

from collections.abc import Sequence

from loadtests.errors import LoadTestError


class DemoError(LoadTestError):
    """Something outside our traffic is in the way. `log_tail`: the last lines of the log that tells more."""

    def __init__(self, cause: str, hint: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(cause, hint)
        self.log_tail = tuple(log_tail)


class ConflictError(DemoError):
    """Somebody else changed a feature first."""


class PartFailedError(DemoError):
    """A child process ended, or was not ready in time."""


class PortTakenError(DemoError):
    """Something listens already where a part should."""


class StateDirError(DemoError):
    """The state directory can't be used."""

    exit_code = 2


class PartnerSettingsError(DemoError):
    """The environment names a partner that can't be called like that."""

    exit_code = 2


class ModelSpecError(DemoError):
    """The model spec can't be read."""

    exit_code = 2
