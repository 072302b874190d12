from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.outcome import Record
from gateway.core.recent import Recent
from tests.gateway.records import SETTLED

RECORD = replace(
    SETTLED,
    served="",
    upstream="",
    status=429,
    outcome="refused",
    cause="overloaded",
    attempts=0,
    sent_s=None,
    duration_s=0.2,
)


def at(second: int, tenant: str = "acme") -> Record:
    return replace(RECORD, request_id=f"r{second}", at_s=float(second), tenant=tenant)


@given(count=st.integers(0, 60), records_max=st.integers(0, 20))
def test_the_newest_are_kept_and_it_says_since_when_it_knows_all(count: int, records_max: int) -> None:
    recent = Recent(records_max)
    for second in range(1, count + 1):
        recent.add(at(second))
    known = [second for second in range(1, count + 1) if recent.find(f"r{second}")]
    assert len(recent) == len(known) <= max(2, records_max)
    assert known == list(range(count - len(known) + 1, count + 1))
    assert len(known) >= min(count, records_max // 2)
    if len(known) < count:
        assert recent.complete_since_s == known[0]
    else:
        assert recent.complete_since_s == 0.0


def test_an_id_that_several_tenants_chose_is_found_for_each() -> None:
    recent = Recent(10)
    for tenant in ("acme", "other"):
        recent.add(at(1, tenant))
    assert {record.tenant for record in recent.find("r1")} == {"acme", "other"}
    assert recent.find("r2") == []


def test_an_id_used_again_stands_for_the_last_request() -> None:
    recent = Recent(10)
    recent.add(RECORD)
    recent.add(replace(RECORD, cause="residency"))
    assert [record.cause for record in recent.find("r")] == ["residency"]


def test_all_is_handed_over_and_counts_as_older() -> None:
    giver, heir = Recent(4), Recent(8)
    for second in range(1, 5):
        giver.add(at(second))
    heir.add(replace(at(4), cause="newer"))
    parts = list(giver.give_away(3))
    assert [record.at_s for part in parts for record in part] == [3, 4, 1, 2]
    assert len(giver) == 0
    for part in parts:
        for record in part:
            heir.receive(record)
    assert [record.cause for record in heir.find("r4")] == ["newer"]
    assert heir.find("r1") == [at(1)]
    assert len(heir) == 4


def test_of_an_id_used_twice_the_last_is_taken_over() -> None:
    giver, heir = Recent(2), Recent(8)
    giver.add(RECORD)
    giver.add(replace(RECORD, cause="residency"))
    for part in giver.give_away(1):
        heir.receive(part[0])
    assert [record.cause for record in heir.find("r")] == ["residency"]


def test_what_does_not_fit_is_not_taken_over() -> None:
    heir = Recent(2)
    heir.receive(at(1))
    heir.receive(at(2))
    assert (heir.find("r1"), heir.find("r2")) == ([at(1)], [])
    assert heir.complete_since_s == 2.0


def test_dropping_what_was_taken_over_counts_as_forgetting() -> None:
    heir = Recent(4)
    heir.add(at(5))
    heir.receive(at(9))
    for second in (10, 11):
        heir.add(at(second))
    assert heir.find("r9") == []
    assert heir.complete_since_s == 9.0
