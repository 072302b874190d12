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

    `quality`: points of 1, negative is worse; `slowdown`: factor on latencies; `error_ratio`: on its error rate (1 % in
    the baseline); `bad_form`: more answers without form, as a part of all; `lasting_units`: effects end after these;
    `drift`: they grow from nothing after the onset; `route_share`: part of the traffic that the error ratio applies to;
    `hidden`: callers see nothing of failures, the baseline answers instead; `coupling`: slowdown for each unit of share
    above 40 %; `wave`: day wave, relative for latency, a quarter of it for quality; `icc`: part of the variance that is
    the user's; `burst`: units in a row of one user; `unhappy`: how much likelier a bad answer is rated; `late_votes`:
    part of the candidate's ratings that come too late; `lost`: part of its units that never report; `lost_slow`: the
    slowest are lost; `outage`: the baseline fails 30 % of the time for a while; `dwell`: factor on the time at a stage;
    `more_errors`: of the candidate, as a part of all, whatever the baseline has; `error_wave`: day wave in the errors
    of both, relative; `error_storm`: both fail 30 % of the time for a while.
    """

    name: str
    truth: Truth
    quality: float = 0.0
    slowdown: float = 1.0
    error_ratio: float = 1.0
    bad_form: float = 0.0
    onset_stage: int = 0
    onset_unit: int = 0
    lasting_units: int = 0
    drift: bool = False
    route_share: float = 1.0
    hidden: bool = False
    coupling: float = 0.0
    wave: float = 0.0
    icc: float = 0.1
    burst: int = 1
    unhappy: float = 2.0
    late_votes: float = 0.0
    lost: float = 0.0
    lost_slow: bool = False
    outage: bool = False
    dwell: int = 1
    more_errors: float = 0.0
    error_wave: float = 0.0
    error_storm: bool = False


FINE, MARGIN, HARM, UNTRUSTED = Truth.FINE, Truth.AT_THE_MARGIN, Truth.HARM, Truth.UNTRUSTED
_FIVE_MINUTES = 6_000
_OUTAGE = 30.0


def _abrupt(name: str, stage: int, *, lasting_units: int = 0) -> Scenario:
    return Scenario(
        name=name, truth=HARM, error_ratio=_OUTAGE, onset_stage=stage, onset_unit=5_000, lasting_units=lasting_units
    )


SCENARIOS = (
    Scenario(name="A/A", truth=FINE),
    Scenario(name="A/A, day wave", truth=FINE, wave=0.2),
    Scenario(name="A/A, users alike (ICC 0.3), in bursts", truth=FINE, icc=0.3, burst=5),
    Scenario(name="A/A, independent users", truth=FINE, icc=0.0),
    Scenario(name="A/A, thrice as long", truth=FINE, dwell=3, wave=0.2),
    Scenario(name="A/A, partner outage", truth=FINE, outage=True),
    Scenario(name="A/A, the unhappy rate more", truth=FINE, unhappy=6.0),
    Scenario(name="A/A, ratings come later", truth=FINE, late_votes=0.2),
    Scenario(name="better arm", truth=FINE, quality=0.03, slowdown=0.9, error_ratio=0.8),
    Scenario(name="quality -1 point", truth=FINE, quality=-0.01),
    Scenario(name="p95 +5 %", truth=FINE, slowdown=1.05),
    Scenario(name="errors 1 -> 1.2 %", truth=FINE, error_ratio=1.2),
    Scenario(name="quality at the margin (-3 points)", truth=MARGIN, quality=-0.03),
    Scenario(name="p95 at the margin (+10 %)", truth=MARGIN, slowdown=1.1),
    Scenario(name="errors at the margin (1 -> 1.5 %)", truth=MARGIN, error_ratio=1.5),
    Scenario(name="form at the margin (1 -> 1.5 %)", truth=MARGIN, bad_form=0.005),
    Scenario(name="p95 at the margin, day wave, bursts", truth=MARGIN, slowdown=1.1, wave=0.2, icc=0.3, burst=5),
    Scenario(name="quality -6 points", truth=HARM, quality=-0.06),
    Scenario(name="quality -10 points", truth=HARM, quality=-0.1),
    Scenario(name="p95 +25 %", truth=HARM, slowdown=1.25),
    Scenario(name="p95 +50 %", truth=HARM, slowdown=1.5),
    Scenario(name="p95 +100 %", truth=HARM, slowdown=2.0),
    Scenario(name="errors 1 -> 2 %", truth=HARM, error_ratio=2.0),
    Scenario(name="errors 1 -> 5 %", truth=HARM, error_ratio=5.0),
    Scenario(name="errors 1 -> 30 %", truth=HARM, error_ratio=30.0),
    Scenario(name="bad form 1 -> 3 %", truth=HARM, bad_form=0.02),
    Scenario(name="the fallback hides 5 % failures", truth=HARM, error_ratio=6.0, hidden=True),
    _abrupt("abrupt 30 % errors after 20 %", 1),
    _abrupt("abrupt 30 % errors after 50 %", 2),
    _abrupt("abrupt 30 % errors after 80 %", 3),
    _abrupt("abrupt 30 % errors after 80 %, for 5 min", 3, lasting_units=_FIVE_MINUTES),
    Scenario(name="abrupt p95 +50 % after 80 %", truth=HARM, slowdown=1.5, onset_stage=3, onset_unit=5_000),
    Scenario(name="quality drifts to -10 points", truth=HARM, quality=-0.1, drift=True, onset_stage=1),
    Scenario(name="slower above 40 % load", truth=HARM, coupling=5.0, onset_stage=3),
    Scenario(name="one route of 5 % fails", truth=HARM, error_ratio=100.0, route_share=0.05),
    Scenario(name="10 % of units lost", truth=UNTRUSTED, lost=0.1),
    Scenario(name="3 % of units lost", truth=UNTRUSTED, lost=0.03),
    Scenario(name="the slowest 5 % lost, p95 +25 %", truth=UNTRUSTED, slowdown=1.25, lost=0.05, lost_slow=True),
    Scenario(name="A/A, day wave of errors", truth=FINE, error_wave=0.9),
    Scenario(name="errors +0.2 points, day wave of errors", truth=FINE, more_errors=0.002, error_wave=0.9, dwell=3),
    Scenario(name="errors +0.2 points, both failed before", truth=FINE, more_errors=0.002, error_storm=True),
)
