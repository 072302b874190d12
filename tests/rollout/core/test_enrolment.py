from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.eligibility import compile_eligibility
from rollout.core.enrolment import EnrolmentStep, enrol, find
from rollout.core.errors import InvalidArgument
from rollout.core.model import ENROLMENTS_MAX, Audience, Eligibility, Enrolment, EnrolmentState, FeatureFlag, Subject

REQUEST, APPROVE, DECLINE, FORGET = EnrolmentStep
REQUESTED, APPROVED, DECLINED = EnrolmentState
FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", eligibility=Eligibility(Audience.LISTED, ("umbrella",)))
LEGAL = {
    (None, REQUEST): REQUESTED, (None, APPROVE): APPROVED,
    (REQUESTED, REQUEST): REQUESTED, (REQUESTED, APPROVE): APPROVED, (REQUESTED, DECLINE): DECLINED,
    (REQUESTED, FORGET): None,
    (APPROVED, REQUEST): APPROVED, (APPROVED, APPROVE): APPROVED, (APPROVED, DECLINE): DECLINED,
    (APPROVED, FORGET): None,
    (DECLINED, REQUEST): REQUESTED, (DECLINED, APPROVE): APPROVED, (DECLINED, DECLINE): DECLINED,
    (DECLINED, FORGET): None,
}  # fmt: skip


def listing(*entries: Enrolment) -> FeatureFlag:
    return replace(FLAG, eligibility=replace(FLAG.eligibility, early_access=entries))


def after(flag: FeatureFlag, step: EnrolmentStep, actor: str = "op", user: str = "ann") -> FeatureFlag:
    return enrol(flag, step, "acme", user, actor=actor, at_s=5.0)


@pytest.mark.parametrize(("state", "step"), list(product([None, *EnrolmentState], EnrolmentStep)))
def test_every_step_from_every_state(state: EnrolmentState | None, step: EnrolmentStep) -> None:
    other = Enrolment("acme", "bob", APPROVED)
    flag = listing(other) if state is None else listing(Enrolment("acme", "ann", state, "ann"), other)
    if (state, step) not in LEGAL:
        with pytest.raises(InvalidArgument, match="not on the early-access list"):
            after(flag, step)
        return
    changed = after(flag, step)
    entry = find(changed, "acme", "ann")
    assert (None if entry is None else entry.state) is LEGAL[state, step]
    assert find(changed, "acme", "bob") == other
    assert (changed is flag) == (LEGAL[state, step] is state)


def test_an_entry_tells_who_asked_and_who_decided() -> None:
    asked = after(FLAG, REQUEST, "ann")
    assert find(asked, "acme", "ann") == Enrolment("acme", "ann", REQUESTED, "ann", 5.0)
    approved = enrol(asked, APPROVE, "acme", "ann", actor="op", at_s=7.0)
    assert find(approved, "acme", "ann") == Enrolment("acme", "ann", APPROVED, "ann", 5.0, "op", 7.0)


def test_nobody_approves_a_wish_of_their_own() -> None:
    asked = after(FLAG, REQUEST, "ann")
    with pytest.raises(InvalidArgument, match="'ann' asked for this"):
        after(asked, APPROVE, "ann")


def test_a_whole_tenant_is_an_entry_of_its_own() -> None:
    both = after(after(FLAG, APPROVE, user=""), REQUEST)
    assert find(both, "acme") != find(both, "acme", "ann")
    with pytest.raises(InvalidArgument, match=r"^tenant 'acme' is not on"):
        after(FLAG, FORGET, user="")


def test_a_full_list_takes_no_more() -> None:
    full = listing(*(Enrolment("acme", str(number)) for number in range(ENROLMENTS_MAX)))
    with pytest.raises(InvalidArgument, match="is full"):
        after(full, REQUEST)
    assert find(after(full, APPROVE, user="3"), "acme", "3") is not None


steps = st.lists(st.tuples(st.sampled_from(EnrolmentStep), st.sampled_from(["", "ann", "bob"]), st.sampled_from("xy")))


@given(steps)
def test_only_the_approved_become_eligible(taken: list[tuple[EnrolmentStep, str, str]]) -> None:
    flag = FLAG
    for step, user, actor in taken:
        try:
            flag = after(flag, step, actor, user)
        except InvalidArgument:
            continue
    admits: Any = compile_eligibility(flag)
    whole = find(flag, "acme")
    for user in ("ann", "bob"):
        entry = find(flag, "acme", user)
        approved = APPROVED in {each.state for each in (entry, whole) if each is not None}
        assert admits(Subject("c", user, "acme")) == approved
    assert admits(Subject(tenant="umbrella"))
    assert not admits(Subject("c", "ann", "other"))
