"""What can go wrong, in words for an operator. Nothing here knows HTTP."""

# ruff: noqa: N818  a fault is named for what happened; the base class says that it is an error

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # no import at run time: the flag holds a ramp, and reading its durations raises these faults
    from collections.abc import Iterable

    from rollout.core.model import FeatureFlag

_SHOWN_CHARS = 100
_TYPO_RATIO = 0.8


def nearest_names(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three names that `word` may have been meant for: those it begins, then the similar ones."""
    names = sorted(known)
    begun = [name for name in names if word and name.startswith(word)]
    similar = get_close_matches(word, names, n=3, cutoff=0.5)
    return tuple(dict.fromkeys([*begun, *similar]))[:3]


class RolloutError(Exception):
    """Base: one line of cause, one of hint, and the exit code of the command that meets it."""

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class InvalidDocument(RolloutError):
    """A flag document, or a part of one, that must not come into force."""

    exit_code = 2


class DocumentRefused(InvalidDocument):
    """A document that somebody gave and that must not come into force. `faults`: all that was found, a line each."""

    def __init__(self, faults: Iterable[str], hint: str = "correct it; what is in force stays until then") -> None:
        self.faults = tuple(faults)
        further = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{self.faults[0]}{further}", hint)


class DamagedFlags(InvalidDocument):
    """Some of a store's flags can't be read. `readable`: those that can."""

    def __init__(self, fault: InvalidDocument, readable: dict[str, FeatureFlag]) -> None:
        super().__init__(fault.cause, fault.hint)
        self.readable = readable


class InvalidArgument(RolloutError):
    """A command's argument that cannot be meant: a share, a reason, a store URL."""

    exit_code = 2


class RevisionConflict(RolloutError):
    """Somebody else wrote first. `current` is the flag now in force; None when it does not exist."""

    exit_code = 3

    def __init__(self, feature: str, expected: int, current: FeatureFlag | None) -> None:
        found = "does not exist" if current is None else f"is at revision {current.revision}"
        super().__init__(
            f"{feature!r} {found}, the change was made for revision {expected}",
            "read it again, check that the change still makes sense, and repeat it",
        )
        self.current = current


class StaleWriter(RolloutError):
    """A writer under a lease that was handed out anew since, or that this store never gave: it must stop acting."""

    exit_code = 3

    def __init__(self, lease: str, token: int, newest: int) -> None:
        super().__init__(
            f"the lease {lease!r} was handed out anew: token {token} was used, the newest is {newest}",
            "acquire the lease again and decide anew on what is stored now",
        )
        self.newest = newest


class CommandRepeated(RolloutError):
    """A command with this idempotency key was done already. `outcome` is what was to be answered then."""

    def __init__(self, key: str, outcome: bytes) -> None:
        super().__init__(f"the command {key!r} was done already", "nothing is to be done; use a new key for a new one")
        self.outcome = outcome


class IdempotencyKeyUsed(RolloutError):
    """An idempotency key that came with another command before, or from somebody else. Nothing was done."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another command", "make a new key for each command")


class UnknownFeature(RolloutError):
    """No flag of that name. `nearest` lists similar names, best first."""

    exit_code = 4

    def __init__(self, feature: str, known: Iterable[str]) -> None:
        names = sorted(known)
        self.nearest = nearest_names(feature, names)
        meant = f"did you mean {' or '.join(self.nearest)}?" if self.nearest else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"there is no feature {feature!r}", meant)


class StoreUnavailable(RolloutError):
    """The store does not answer in time, cannot be opened, or is damaged. The last good snapshot stays in force."""

    exit_code = 5


class StoreReset(InvalidDocument):
    """The store has lost data: it is empty, another one, or behind. What was known is in force, or less exposure."""

    exit_code = 5


class ShareIncreaseRefused(RolloutError):
    """Raising the share is not allowed in the flag's present condition."""

    exit_code = 1


class RampRefused(RolloutError):
    """A ramp's command that its present phase doesn't allow. The ramp is as it was."""

    exit_code = 1


class ApprovalRequired(RampRefused):
    """Raising the share needs a second person first."""


class UnknownKey(RolloutError):
    """No API key of that id. `nearest` lists similar ids, best first."""

    exit_code = 4

    def __init__(self, key_id: str, known: Iterable[str]) -> None:
        # Ids are random: what merely resembles a mistyped one is somebody else's key.
        self.nearest = tuple(get_close_matches(key_id[:_SHOWN_CHARS], tuple(known), 2, _TYPO_RATIO))
        meant = f"did you mean {' or '.join(self.nearest)}?" if self.nearest else "see `glidepath keys list --all`"
        super().__init__(f"there is no key {key_id[:_SHOWN_CHARS]!r}", meant)


class KeyRefused(RolloutError):
    """A change of API keys that the rules forbid: a third live key, or the operators would be locked out."""

    exit_code = 1
