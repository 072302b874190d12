"""What of a flag a plain flagd evaluator can be told, so that it decides as we do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollout.core.eligibility import context_of, listed
from rollout.core.model import BUCKETS, Arm, Audience, State

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag, Subject

TEXT_VERSION = 2
_FLAG_KEY = "$flagd.flagKey"


def is_portable(flag: FeatureFlag) -> bool:
    """Tell whether a plain flagd evaluator, given `flagd_context` and the unit as targetingKey, decides as we do.

    flagd 3 can only hash [flag name, targetingKey], so another salt can't be expressed, nor can a holdout or the arm
    that another feature gives.
    """
    settled = flag.kill.on or flag.state is State.DISABLED or flag.share_millipct == 0
    expressible = flag.hash_version == TEXT_VERSION or flag.split_salt == flag.feature
    return settled or (expressible and flag.holdout.millipct == 0 and not flag.prerequisites)


def flagd_context(flag: FeatureFlag, subject: Subject) -> dict[str, object]:
    """Give the evaluation context that stands for a subject: flagd has no absent values, so these are left out."""
    context = context_of(flag.feature, subject)
    del context["feature"]  # flagd knows it by another name
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in context.items() if value is not None
    }


def render_flag(flag: FeatureFlag) -> dict[str, Any]:
    """Render the flagd flag. What flagd would decide differently is left out: it then says baseline to all."""
    rendered: dict[str, Any] = {
        "state": flag.state.value,
        "variants": {Arm.CANDIDATE.value: flag.candidate, Arm.BASELINE.value: flag.baseline},
        "defaultVariant": Arm.BASELINE.value,
        "metadata": {
            "revision": flag.revision,
            "hashVersion": flag.hash_version,
            "bucketBy": flag.bucket_by.value,
            "portable": is_portable(flag),
        },
    }
    targeting = _targeting(flag)
    return rendered | ({"targeting": targeting} if targeting else {})


def _targeting(flag: FeatureFlag) -> dict[str, Any]:
    if flag.kill.on or not is_portable(flag):
        return {}
    conditions = [*_audience(flag), *_rule(flag)]
    split = _split(flag)
    if flag.hash_version == TEXT_VERSION:
        conditions.append({"!!": [{"var": "targetingKey"}]})
    if not conditions:
        return split
    condition = conditions[0] if len(conditions) == 1 else {"and": conditions}
    return {"if": [condition, split, Arm.BASELINE.value]}


def _split(flag: FeatureFlag) -> dict[str, Any]:
    share = flag.share_millipct
    arms = [[Arm.CANDIDATE.value, share], [Arm.BASELINE.value, BUCKETS - share]]
    if flag.hash_version == TEXT_VERSION:
        return {"fractional": [{"cat": [flag.split_salt, {"var": "targetingKey"}]}, *arms]}
    return {"fractional": arms}


def _audience(flag: FeatureFlag) -> list[dict[str, Any]]:
    if flag.eligibility.audience is Audience.EVERYONE:
        return []
    tenants, users = listed(flag.eligibility)
    admitted: list[dict[str, Any]] = [{"in": [{"var": "tenant"}, sorted(tenants)]}]
    for tenant in sorted({tenant for tenant, _ in users}):
        of_tenant = sorted(user for owner, user in users if owner == tenant)
        is_tenant = {"===": [{"var": "tenant"}, tenant]}
        admitted.append({"and": [is_tenant, {"in": [{"var": "user"}, of_tenant]}]})
    return admitted if len(admitted) == 1 else [{"or": admitted}]


def _rule(flag: FeatureFlag) -> list[dict[str, Any]]:
    rule = flag.eligibility.attributes
    return [] if rule is None else [_renamed(rule)]


def _renamed(rule: Any) -> Any:  # noqa: ANN401  any JSON
    """Copy a rule, with flagd's name for the feature."""
    if isinstance(rule, dict):
        return {
            operator: _renamed_variable(given) if operator == "var" else _renamed(given)
            for operator, given in rule.items()
        }
    return [_renamed(each) for each in rule] if isinstance(rule, (list, tuple)) else rule


def _renamed_variable(given: Any) -> Any:  # noqa: ANN401  see above
    if isinstance(given, (list, tuple)):
        return [_renamed_variable(given[0]), *given[1:]]
    return _FLAG_KEY if given == "feature" else given
