"""What may happen during a ramp: worlds in which the candidate is as good, at the margin, or worse in one known way."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Truth(StrEnum):
    """What a gate ought to do: let it pass, not let it pass, stop it, or not trust the data."""

    FINE = "fine"
    AT_THE_MARGIN = "at_the_margin"
    HARM = "harm"
    UNTRUSTED = "untrusted"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One world. Effects are the candidate's, against an equal baseline, from `onset_unit` of `onset_stage` on.

    `quality`: on the judge's mean (scale 0 to 1), negative is worse; `slowdown`: factor on its latencies;
    `error_ratio`: on its error rate (1 % in the baseline); `drift`: effects grow from nothing after the onset;
    `route_share`: part of the traffic that the error ratio applies to; `coupling`: slowdown for each unit of share
    above 40 %; `wave`: day wave, relative for latency, a quarter of it for quality; `icc`: part of quality's variance
    that is the user's; `lost`: part of the candidate's units that never report; `lost_slow`: the slowest are lost;
    `outage`: the baseline fails 30 % of the time for a while.
    """

    name: str
    truth: Truth
    quality: float = 0.0
    slowdown: float = 1.0
    error_ratio: float = 1.0
    onset_stage: int = 0
    onset_unit: int = 0
    drift: bool = False
    route_share: float = 1.0
    coupling: float = 0.0
    wave: float = 0.0
    icc: float = 0.1
    lost: float = 0.0
    lost_slow: bool = False
    outage: bool = False


def _harm(name: str, *, quality: float = 0.0, slowdown: float = 1.0, error_ratio: float = 1.0) -> Scenario:
    return Scenario(name=name, truth=Truth.HARM, quality=quality, slowdown=slowdown, error_ratio=error_ratio)


def _late(name: str, stage: int) -> Scenario:
    return Scenario(name=name, truth=Truth.HARM, error_ratio=30.0, onset_stage=stage, onset_unit=5_000)


FINE, MARGIN, UNTRUSTED = Truth.FINE, Truth.AT_THE_MARGIN, Truth.UNTRUSTED
SCENARIOS = (
    Scenario(name="A/A", truth=FINE),
    Scenario(name="A/A, day wave", truth=FINE, wave=0.2),
    Scenario(name="A/A, users alike (ICC 0.3)", truth=FINE, icc=0.3),
    Scenario(name="A/A, independent users", truth=FINE, icc=0.0),
    Scenario(name="A/A, partner outage", truth=FINE, outage=True),
    Scenario(name="better arm", truth=FINE, quality=0.03, slowdown=0.9, error_ratio=0.8),
    Scenario(name="quality -1 point", truth=FINE, quality=-0.01),
    Scenario(name="p95 +5 %", truth=FINE, slowdown=1.05),
    Scenario(name="quality at the margin (-3 points)", truth=MARGIN, quality=-0.03),
    Scenario(name="p95 at the margin (+10 %)", truth=MARGIN, slowdown=1.1),
    Scenario(name="errors at the margin (1 -> 1.5 %)", truth=MARGIN, error_ratio=1.5),
    _harm("quality -6 points", quality=-0.06),
    _harm("quality -10 points", quality=-0.1),
    _harm("p95 +25 %", slowdown=1.25),
    _harm("p95 +50 %", slowdown=1.5),
    _harm("p95 +100 %", slowdown=2.0),
    _harm("errors 1 -> 2 %", error_ratio=2.0),
    _harm("errors 1 -> 5 %", error_ratio=5.0),
    _harm("errors 1 -> 30 %", error_ratio=30.0),
    _late("errors 1 -> 30 % at 20 %", 1),
    _late("errors 1 -> 30 % at 50 %", 2),
    _late("errors 1 -> 30 % at 80 %", 3),
    Scenario(name="quality drifts to -10 points", truth=Truth.HARM, quality=-0.1, drift=True, onset_stage=1),
    Scenario(name="slower above 40 % load", truth=Truth.HARM, coupling=5.0, onset_stage=3),
    Scenario(name="one route of 5 % fails", truth=Truth.HARM, error_ratio=100.0, route_share=0.05),
    Scenario(name="10 % of units lost", truth=UNTRUSTED, lost=0.1),
    Scenario(name="3 % of units lost", truth=UNTRUSTED, lost=0.03),
    Scenario(name="the slowest 5 % lost", truth=UNTRUSTED, lost=0.05, lost_slow=True),
)
