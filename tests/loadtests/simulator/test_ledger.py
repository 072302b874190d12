from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.ledger import Digest, Ledger, Seen
from loadtests.simulator.request import Request


def seen(identifier: str = "", body: bytes = b"") -> Seen:
    headers = ((b"host", b"h"), (b"x-request-id", identifier.encode()))
    return Seen(Request("POST", "/p", body, headers, connection=3, nth=1), identifier, 5.0)


@given(st.lists(st.text(min_size=1), min_size=1), st.randoms())
def test_a_digest_tells_equal_from_lost_and_doubled_whatever_the_order(ids: list[str], chance) -> None:
    shuffled = list(ids)
    chance.shuffle(shuffled)
    assert Digest(ids).shown() == Digest(shuffled).shown()
    assert Digest(ids).shown() != Digest(ids[1:]).shown()
    assert Digest(ids).shown() != Digest([*ids, ids[0]]).shown()
    if len(set(ids)) > 1:
        other = next(each for each in ids if each != ids[0])
        assert Digest([*ids, ids[0]]).shown()["sum"] != Digest([*ids, other]).shown()["sum"]


def test_ids_are_counted_by_arrival_and_ending() -> None:
    ledger = Ledger(10, 10)
    for ending in ("completed", "aborted", "broken", "completed"):
        request = seen("a")
        ledger.arrive(request)
        ledger.end(request, ending, 0.5)
    ledger.arrive(seen("b"))
    assert ledger.tallies("a") == {"arrived": 4, "completed": 2, "aborted": 1, "broken": 1}
    assert ledger.tallies("b") == {"arrived": 1, "completed": 0, "aborted": 0, "broken": 0}
    assert ledger.tallies("c")["arrived"] == 0
    found = ledger.snapshot()
    assert (found["duplicates"], found["repeated"]) == (3, ["a"])
    assert found["arrived"] == Digest(["a"] * 4 + ["b"]).shown()
    assert found["completed"] == Digest(["a"] * 2).shown()


def test_a_request_is_kept_as_it_came_and_how_it_ended() -> None:
    ledger = Ledger(10, 10)
    request = seen("a", b'{"x": "\xc3\xa9"}')
    ledger.arrive(request)
    (begun,) = ledger.last(1)
    assert (begun["ending"], begun["after_s"]) == (None, None)
    ledger.end(request, "aborted", 0.25)
    (found,) = ledger.last(1)
    assert found["headers"] == [["host", "h"], ["x-request-id", "a"]]
    assert found["body"] == '{"x": "é"}'
    assert (found["method"], found["path"], found["connection"], found["nth"]) == ("POST", "/p", 3, 1)
    assert (found["ending"], found["after_s"], found["arrived_s"]) == ("aborted", 0.25, 5.0)


def test_requests_without_an_id_are_kept_but_not_counted_by_it() -> None:
    ledger = Ledger(10, 10)
    request = seen()
    ledger.arrive(request)
    ledger.end(request, "completed", 0.1)
    assert len(ledger.last(10)) == 1
    assert ledger.snapshot()["arrived"]["count"] == ledger.snapshot()["completed"]["count"] == 0


def test_all_is_bounded_but_the_digests_count_on() -> None:
    ledger = Ledger(ids_kept=5, requests_kept=3)
    for number in range(50):
        ledger.arrive(seen(str(number), b"x" * 100_000))
    assert [request["identifier"] for request in ledger.last(100)] == ["47", "48", "49"]
    assert len(ledger.last(1)[0]["body"]) == 65_536
    assert [ledger.tallies(str(number))["arrived"] for number in (44, 45)] == [0, 1]
    assert ledger.snapshot()["arrived"]["count"] == 50


def test_the_last_of_one_id() -> None:
    ledger = Ledger(5, 5)
    for identifier in ("a", "b", "a"):
        ledger.arrive(seen(identifier))
    assert len(ledger.last(10, "a")) == 2
    assert ledger.last(0) == []
    assert ledger.last(1, "b")[0]["identifier"] == "b"
