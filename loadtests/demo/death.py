"""Why a child ended, from its exit code and its log (pure)."""

import signal
from collections.abc import Sequence

_CAUSE, _HINT, _QUOTED = "glidepath: ", "  hint: ", "  | "


def explain(name: str, exit_code: int, log_lines: Sequence[str], log_path: str) -> tuple[str, str]:
    """Return cause and hint: those the child gave itself, else how it ended and where its log is."""
    see_log = f"its whole log is {log_path}"
    places = [number for number, line in enumerate(log_lines) if line.startswith(_CAUSE)]
    if not places:
        return f"{name} {ending(exit_code)}", see_log
    last = places[-1]
    cause = f"{name}: {log_lines[last].removeprefix(_CAUSE)}"
    following = log_lines[last + 1] if last + 1 < len(log_lines) else ""
    return cause, following.removeprefix(_HINT) if following.startswith(_HINT) else see_log


def context(log_lines: Sequence[str]) -> list[str]:
    """Return the log lines that say more than cause and hint, those the child quoted as they were."""
    return [line.removeprefix(_QUOTED) for line in log_lines if not line.startswith((_CAUSE, _HINT))]


def ending(exit_code: int) -> str:
    """Say how a process ended; negative codes are signals, as `subprocess` has it."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was ended by signal {-exit_code}"
