"""What requests cost as it is added up in the store: by feature, attempt, share in force at the draw and assigned arm.

Money and squares of money are exact and pass 64 bits within hours, so they travel as digits to the base of a million.
Digits are added one by one and need no carry: whoever reads them weighs them. One request adds `ELEMENT_MAX` at most to
any element, so `REQUESTS_MAX` requests fit, whatever they cost: more than eight years at a thousand a second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rollout.core.cost import CostSums, Stratum, add
from rollout.core.model import Arm
from rollout.core.ramp_model import Phase
from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Progress

ELEMENT_MAX = 1 << 24
REQUESTS_MAX = 1 << 38
_BASE = 1_000_000
_COUNTS, _MONEY, _SQUARED = 5, 3, 5
"""Elements: requests, accepted, unmetered, prompt and completion tokens; digits of picodollars; of their squares."""
ELEMENTS = _COUNTS + _MONEY + _SQUARED
_SHADOW = "cost.shadow"
_NAME = re.compile(r"cost\.([0-9]{1,6})\.(candidate|baseline)", re.ASCII)
_NOT_COUNTED = (Phase.DRAFT, Phase.ROLLED_BACK)
"""After a rollback there is nothing to compare."""


def has_begun(flag: FeatureFlag) -> bool:
    """Whether a ramp is under way or completed: its shadow calls are counted."""
    return flag.progress.attempt > 0 and flag.progress.phase not in _NOT_COUNTED


def is_counted(flag: FeatureFlag) -> bool:
    """Whether requests drawn under this flag are counted: not below a share where nobody gets the candidate."""
    return has_begun(flag) and flag.share_millipct > 0


def cost_key(feature: str, progress: Progress, share_millipct: int, arm: Arm) -> SumKey:
    """Where requests are added up that were drawn with this share in this attempt, by the arm they were assigned to."""
    return SumKey(feature, progress.attempt, f"cost.{share_millipct}.{arm.value}")


def shadow_key(feature: str, progress: Progress) -> SumKey:
    """Where the ramp's shadow calls are added up: overhead, in no comparison."""
    return SumKey(feature, progress.attempt, _SHADOW)


def vector_of(sums: CostSums) -> tuple[int, ...]:
    """The sums as a store adds them up."""
    return (
        sums.requests, sums.accepted, sums.unmetered, sums.prompt_tokens, sums.completion_tokens,
        *_digits(sums.picousd, _MONEY), *_digits(sums.squared, _SQUARED),
    )  # fmt: skip


def sums_of(vector: Sequence[int]) -> CostSums:
    """The sums behind an addition of any number of vectors; an empty one is nothing."""
    values = (*vector, *(0,) * ELEMENTS)
    money = _COUNTS + _MONEY
    requests, accepted, unmetered, prompt, completion = values[:_COUNTS]
    picousd, squared = _weighed(values[_COUNTS:money]), _weighed(values[money:ELEMENTS])
    return CostSums(requests, accepted, unmetered, prompt, completion, picousd, squared)


def strata_of(feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]]) -> tuple[Stratum, ...]:
    """What was counted in this attempt, by share, smallest first."""
    found: dict[int, dict[str, CostSums]] = {}
    for key, vector in sums.items():
        name = _NAME.fullmatch(key.name)
        if name is not None and (key.feature, key.epoch) == (feature, progress.attempt):
            found.setdefault(int(name[1]), {})[name[2]] = sums_of(vector)
    nothing = CostSums()
    return tuple(
        Stratum(arms.get(Arm.CANDIDATE, nothing), arms.get(Arm.BASELINE, nothing)) for _, arms in sorted(found.items())
    )


def shadows_of(feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]]) -> CostSums:
    """The shadow calls of this attempt that had an answer."""
    return sums_of(sums.get(shadow_key(feature, progress), ()))


def together(strata: Iterable[Stratum]) -> Stratum:
    """All of them as one: for totals, never for comparing arms."""
    held = tuple(strata)
    return Stratum(add(each.candidate for each in held), add(each.baseline for each in held))


def _digits(value: int, count: int) -> list[int]:
    """Lowest first; the last one holds all the rest."""
    digits = []
    for _ in range(count - 1):
        value, digit = divmod(value, _BASE)
        digits.append(digit)
    return [*digits, value]


def _weighed(digits: Iterable[int]) -> int:
    return sum(digit * _BASE**place for place, digit in enumerate(digits))
