"""Who may ever get a feature's candidate: the listed, of those whom the rule lets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.jsonlogic import compile_rule
from rollout.core.model import Audience, EnrolmentState
from rollout.core.rule_code import admitting

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout.core.model import Eligibility, FeatureFlag, Subject

NAMES = ("feature", "conversation", "user", "tenant", "request")
"""What a rule may read of any subject; all other names are attributes."""


def context_of(feature: str, subject: Subject) -> dict[str, object]:
    """What rules read: the attributes, and above them NAMES, None for absent parts."""
    conversation, user, tenant, request, attributes = subject
    return {
        **attributes,
        "feature": feature,
        "conversation": conversation or None,
        "user": user or None,
        "tenant": tenant or None,
        "request": request or None,
    }


def listed(eligibility: Eligibility) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Give the tenants that are listed whole, and the users (tenant, user) of others."""
    approved = [each for each in eligibility.early_access if each.state is EnrolmentState.APPROVED]
    tenants = frozenset((*eligibility.tenants, *(each.tenant for each in approved if not each.user)))
    return tenants, frozenset((each.tenant, each.user) for each in approved if each.user and each.tenant not in tenants)


def compile_eligibility(flag: FeatureFlag) -> Callable[[Subject], bool] | None:
    """Make the function that tells whether a subject is eligible; None when everybody is. It raises on odd values."""
    is_listed, follows_rule = _listing(flag.eligibility), _rule(flag)
    if is_listed is None or follows_rule is None:
        return is_listed or follows_rule

    def admits(subject: Subject) -> bool:
        return is_listed(subject) and follows_rule(subject)

    return admits


def attributes_read(flag: FeatureFlag) -> frozenset[str]:
    """Names of the attributes that the flag's rule reads."""
    rule = flag.eligibility.attributes
    return frozenset() if rule is None else compile_rule(rule).names.difference(NAMES)


def unknown_attributes(flag: FeatureFlag, known: frozenset[str]) -> tuple[str, ...]:
    """Attributes that the flag's rule reads but nobody sets: misspelt, or not allowed by the gateway's settings."""
    return tuple(sorted(attributes_read(flag) - known))


def why_not(flag: FeatureFlag, subject: Subject) -> str:
    """Say why a subject is not eligible, for people; "" when it is."""
    eligibility = flag.eligibility
    is_listed, follows_rule = _listing(eligibility), _rule(flag)
    if is_listed is not None and not is_listed(subject):
        return f"only listed ones are: neither tenant {subject.tenant!r} nor its user {subject.user!r} is"
    if follows_rule is None or follows_rule(subject):
        return ""
    context = context_of(flag.feature, subject)
    seen = ", ".join(f"{name}={context.get(name)!r}" for name in sorted(compile_rule(eligibility.attributes).names))
    return f"the rule does not hold for {seen}"


def _listing(eligibility: Eligibility) -> Callable[[Subject], bool] | None:
    if eligibility.audience is Audience.EVERYONE:
        return None
    tenants, users = listed(eligibility)

    def is_listed(subject: Subject) -> bool:
        tenant = subject.tenant
        return tenant in tenants or (tenant, subject.user) in users

    return is_listed


def _rule(flag: FeatureFlag) -> Callable[[Subject], bool] | None:
    if flag.eligibility.attributes is None:
        return None
    rule = compile_rule(flag.eligibility.attributes)
    return admitting(rule.root, flag.feature, None if rule.names.isdisjoint(NAMES) else context_of)
