"""Pairs and kept texts for tests."""

from __future__ import annotations

import json

from gateway.core.keeping import Message, Side, Texts
from gateway.core.shadowing import Answered, ShadowPair
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import FeatureFlag, Keep, Shadow

BOTH = Keep(pairs=True, answers=True, ttl="2h")
HOUR_S = 3_600.0
NOW_S = 1_000 * HOUR_S + 60


def flag(keep: Keep = BOTH, feature: str = "draft") -> FeatureFlag:
    return FeatureFlag(feature=feature, candidate="inhouse", baseline="partner", shadow=Shadow(keep=keep))


def snapshot(*flags: FeatureFlag):
    return compile_snapshot({each.feature: each for each in flags or (flag(),)}, 1)


def pair(
    request_id: str = "r-1",
    said: str = "ours",
    theirs: str = "theirs",
    asked: object = "write to ann@example.org",
    tenant: str = "acme",
    feature: str = "draft",
    assigned: str = "baseline",
) -> ShadowPair:
    answers = {
        "candidate": Answered("candidate", "inhouse", said, None, None, 0.1),
        "baseline": Answered("baseline", "partner", theirs, None, None, 0.1),
    }
    prompt = json.dumps({"messages": [{"role": "user", "content": asked}]}).encode()
    own = answers.pop(assigned)
    (other,) = answers.values()
    return ShadowPair(request_id, NOW_S, feature, 7, tenant, "user", "u", "chat", False, prompt, own, other, True)


def texts(
    number: int = 0, at_s: float = NOW_S, ours: str = "ours", theirs: str = "theirs", feature: str = "draft"
) -> Texts:
    return Texts(
        f"{number:032x}",
        at_s,
        feature,
        7,
        "baseline",
        (Message("user", "hello"),),
        Side("inhouse", ours),
        Side("partner", theirs),
    )
