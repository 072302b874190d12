from typing import Any

import pytest
from hypothesis import given

from rollout.core.eligibility import (
    attributes_read,
    compile_eligibility,
    context_of,
    listed,
    unknown_attributes,
    why_not,
)
from rollout.core.model import Audience, Eligibility, Enrolment, EnrolmentState, FeatureFlag, Subject
from tests.rollout.core.strategies import eligibilities, subjects

PRO = {"==": [{"var": "plan"}, "pro"]}
APPROVED, REQUESTED = EnrolmentState.APPROVED, EnrolmentState.REQUESTED
ANN = Subject("c", "ann", "acme", "r", {"plan": "pro"})


def flag(**eligibility: Any) -> FeatureFlag:
    return FeatureFlag(feature="f", candidate="a", baseline="b", eligibility=Eligibility(**eligibility))


def admitted(subject: Subject, **eligibility: Any) -> bool:
    tried = flag(**eligibility)
    admits = compile_eligibility(tried)
    found = admits is None or admits(subject)
    assert found == (why_not(tried, subject) == "")
    return found


def test_without_conditions_nothing_is_asked() -> None:
    assert compile_eligibility(flag()) is None
    assert compile_eligibility(flag(early_access=(Enrolment("acme"),))) is None


def test_listed_tenants() -> None:
    listing = {"audience": Audience.LISTED, "tenants": ("acme", "umbrella")}
    assert admitted(ANN, **listing)
    assert not admitted(ANN._replace(tenant="other"), **listing)
    assert not admitted(ANN._replace(tenant=None), **listing)
    assert not admitted(ANN, audience=Audience.LISTED)


def test_early_access_of_a_user_and_of_a_tenant() -> None:
    entries = (Enrolment("acme", "ann", APPROVED), Enrolment("acme", "bob"), Enrolment("umbrella", "", APPROVED))
    listing = {"audience": Audience.LISTED, "early_access": entries}
    assert admitted(ANN, **listing)
    assert not admitted(ANN._replace(user="bob"), **listing), "a wish that nobody has approved"
    assert not admitted(ANN._replace(tenant="other"), **listing), "another tenant's user of the same name"
    assert admitted(Subject(tenant="umbrella"), **listing)
    assert not admitted(Subject("c", None, "acme"), **listing)


def test_a_tenant_that_is_listed_needs_no_users() -> None:
    entries = (Enrolment("acme", "ann", APPROVED), Enrolment("other", "ann", APPROVED), Enrolment("x", "", REQUESTED))
    assert listed(Eligibility(Audience.LISTED, ("acme",), entries)) == ({"acme"}, {("other", "ann")})


def test_what_a_rule_reads_besides_the_subject() -> None:
    assert attributes_read(flag()) == frozenset()
    assert attributes_read(flag(attributes={"==": [{"var": "tenant"}, "acme"]})) == frozenset()
    assert attributes_read(flag(attributes={"in": [{"var": "tenant"}, {"var": "teams"}]})) == {"teams"}


def test_rules_read_the_subject_and_its_attributes() -> None:
    assert admitted(ANN, attributes=PRO)
    assert not admitted(ANN._replace(attributes={}), attributes=PRO)
    for name, value in (("tenant", "acme"), ("user", "ann"), ("conversation", "c"), ("request", "r"), ("feature", "f")):
        assert admitted(ANN, attributes={"===": [{"var": name}, value]})


def test_no_attribute_can_pass_for_a_part_of_the_subject() -> None:
    forged = Subject("c", attributes={"tenant": "acme", "feature": "g"})
    assert not admitted(forged, attributes={"==": [{"var": "tenant"}, "acme"]})
    assert context_of("f", forged)["feature"] == "f"


def test_an_empty_part_is_absent() -> None:
    assert context_of("f", Subject("", "", "", "")) == context_of("f", Subject())


def test_listing_and_rule_must_both_admit() -> None:
    both = {"audience": Audience.LISTED, "tenants": ("acme",), "attributes": PRO}
    assert admitted(ANN, **both)
    assert not admitted(ANN._replace(attributes={"plan": "free"}), **both)
    assert not admitted(ANN._replace(tenant="other"), **both)


def test_people_are_told_why_not() -> None:
    said = why_not(flag(attributes=PRO), ANN._replace(attributes={"plan": "free"}))
    assert said == "the rule does not hold for plan='free'"
    assert "neither tenant 'acme' nor its user 'ann'" in why_not(flag(audience=Audience.LISTED), ANN)


def test_attributes_that_nobody_sets_are_found() -> None:
    rule = {"and": [PRO, {"var": "regoin"}, {"var": "tenant"}]}
    assert unknown_attributes(flag(attributes=rule), frozenset({"plan", "region"})) == ("regoin",)
    assert unknown_attributes(flag(), frozenset()) == ()


def test_odd_values_raise() -> None:
    admits = compile_eligibility(flag(attributes={"==": [{"var": "plan"}, 1]}))
    assert admits
    with pytest.raises(TypeError):
        admits(Subject(attributes={"plan": b"x"}))  # type: ignore[dict-item]


@given(eligibilities, subjects)
def test_a_listing_only_narrows_and_a_rule_too(eligibility: Eligibility, subject: Subject) -> None:
    tried = FeatureFlag(feature="f", candidate="a", baseline="b", eligibility=eligibility)
    admits = compile_eligibility(tried)
    if admits is not None and admits(subject):
        tenants, users = listed(eligibility)
        is_listed = subject.tenant in tenants or (subject.tenant, subject.user) in users
        assert is_listed or eligibility.audience is Audience.EVERYONE
        assert why_not(tried, subject) == ""
