"""Random rules, contexts, subjects and flags of the evaluator's tests."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from rollout.core.evaluate import unit_chain
from rollout.core.model import (
    BUCKETS,
    Audience,
    Eligibility,
    Enrolment,
    EnrolmentState,
    FeatureFlag,
    Holdout,
    Kill,
    Shadow,
    State,
    Subject,
    UnitKind,
)

VARIABLES = ("plan", "beta", "age", "groups", "version")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
words = st.sampled_from(
    ["", "a", "ab", "b", "pro", "1", "0", "1.0", " 2 ", "1.2.3", "v2", "2.0.0-rc.1", "inf", "null", "True"]
)
numbers = st.integers(-3, 3) | st.sampled_from([0.0, 0.5, 1.0, -2.5, 1e21])
scalars = st.none() | st.booleans() | numbers | words | texts
attributes = scalars | st.floats(allow_nan=True) | st.lists(words, max_size=3).map(tuple)
contexts = st.dictionaries(st.sampled_from(VARIABLES), attributes)
variables = st.sampled_from(VARIABLES).map(lambda name: {"var": name}) | st.builds(
    lambda name, default: {"var": [name, default]}, st.sampled_from(VARIABLES), scalars
)
versions = st.sampled_from(["1.2.3", "v2", "2.0.0-rc.1", "1.0", "3", "2.0.0+build"])


def operation(operand: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One operator over the operands given."""

    def of(names: list[str], least: int, most: int) -> st.SearchStrategy[Any]:
        return st.builds(
            lambda name, given: {name: given}, st.sampled_from(names), st.lists(operand, min_size=least, max_size=most)
        )

    return st.one_of(
        of(["==", "!=", "===", "!==", "starts_with", "ends_with", "in"], 2, 2),
        of(["<", "<=", ">", ">="], 2, 3),
        of(["!", "!!"], 1, 1),
        of(["and", "or", "cat"], 1, 4),
        of(["if"], 2, 5),
        st.builds(lambda needle, items: {"in": [needle, items]}, operand, st.lists(scalars, max_size=4)),
        st.builds(
            lambda one, how, other: {"sem_ver": [one, how, other]},
            operand,
            st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~"]),
            versions | variables,
        ),
    )


rules = operation(st.recursive(scalars | variables, operation, max_leaves=8))

_LETTERS = string.ascii_letters + string.digits
names = st.builds(str.__add__, st.sampled_from(_LETTERS), st.text(f"{_LETTERS}._-", max_size=8))
shares = st.integers(0, BUCKETS)
tenants = st.sampled_from(["acme", "umbrella", "ü"])
users = st.sampled_from(["ann", "bob", "😀"])
enrolments = st.builds(Enrolment, tenants, users | st.just(""), st.sampled_from(EnrolmentState))


def _eligibility(audience: Audience, some: list[str], wishes: list[Enrolment], rule: Any) -> Eligibility:
    return Eligibility(audience, () if audience is Audience.EVERYONE else tuple(some), tuple(wishes), rule)


eligibilities = st.builds(
    _eligibility,
    st.sampled_from(Audience),
    st.lists(tenants, unique=True, max_size=2),
    st.lists(enrolments, unique_by=lambda each: (each.tenant, each.user), max_size=4),
    st.none() | rules,
)
shadows = st.builds(
    lambda size, salt: Shadow(size, salt, 100, 2, "judge"), shares, st.just("") | texts.map("shadow-".__add__)
)
open_flags = st.builds(
    FeatureFlag,
    feature=names,
    candidate=names,
    baseline=names,
    revision=st.integers(0, 10**6),
    owner=texts,
    state=st.sampled_from(State),
    hash_version=st.sampled_from([2, 3]),
    salt=texts,
    bucket_by=st.sampled_from(UnitKind),
    share_millipct=shares,
    holdout=st.builds(Holdout, shares, texts.map("held-".__add__)),
    shadow=shadows,
    kill=st.builds(Kill, st.booleans(), texts, st.floats(0, 1e10), texts),
)
"""Flags for everyone: rules are what takes time to draw."""
flags = st.builds(lambda flag, eligible: replace(flag, eligibility=eligible), open_flags, eligibilities)
subjects = st.builds(
    Subject,
    st.none() | texts,
    st.none() | users | texts,
    st.none() | tenants | texts,
    st.none() | texts,
    contexts,
)


def unit_of(flag: FeatureFlag, subject: Subject) -> Any:
    """Give the unit that is drawn; None if there is none."""
    return next((subject[place] for place, _ in unit_chain(flag.bucket_by) if subject[place]), None)


def flagd_variant(flag: dict[str, Any], context: dict[str, object], unit: str | None, default: str = "") -> str:
    """Ask openfeature-flagd-core for the value of one flag named "f", or under its `name`."""
    name = flag.pop("name", "f")
    core = FlagdCore()
    core.set_flags(json.dumps({"flags": {name: flag}}))
    given: Any = {key: list(value) if isinstance(value, tuple) else value for key, value in context.items()}
    return core.resolve_string_value(name, default, EvaluationContext(unit, given)).value
