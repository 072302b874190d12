from msgspec.structs import replace

from gateway.core.check_results import CheckResults
from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer
from gateway.core.units import End, Unit

FOUND = CheckedAnswer("r", 1.0, "draft", 1, "candidate", "conversation", 5, Checks(empty=True), 7)
UNIT = Unit(1.0, 7, "draft", 1, True, 30.0, "r", 1.0, End.ANSWERED, 1.0)


def test_what_was_found_is_told_once_to_the_unit_of_the_answer() -> None:
    results = CheckResults()
    results.add(FOUND)
    results.add(replace(FOUND, request_id="s", checks=Checks(empty=False)))
    assert results.take(UNIT._replace(digest=8)) is None
    assert (results.take(UNIT), results.take(UNIT)) == (True, None)
    assert results.take(UNIT._replace(request_id="s")) is False


def test_the_same_id_of_another_tenant_is_another_answer() -> None:
    results = CheckResults()
    results.add(replace(FOUND, tenant="acme"))
    results.add(replace(FOUND, tenant="zoo", checks=Checks(empty=False)))
    assert [results.take(UNIT._replace(tenant=tenant)) for tenant in ("", "zoo", "acme")] == [None, False, True]


def test_answers_of_no_unit_are_not_kept() -> None:
    results = CheckResults()
    results.add(replace(FOUND, unit_digest=0))
    assert len(results) == 0


def test_beyond_the_bound_the_oldest_are_forgotten() -> None:
    results = CheckResults(most=2)
    for number in range(3):
        results.add(replace(FOUND, request_id=str(number)))
    assert len(results) == 2
    assert [results.take(UNIT._replace(request_id=str(number))) for number in range(3)] == [None, True, True]


def test_what_another_worker_found_is_found_here() -> None:
    before, after = CheckResults(), CheckResults()
    before.add(FOUND)
    flawed = before.pop(7, "", "r")
    assert (flawed, before.pop(7, "", "r")) == (True, None)
    after.put(7, "", "r", flawed=True)
    assert after.take(UNIT) is True
