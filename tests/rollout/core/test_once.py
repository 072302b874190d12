import pytest

from rollout.core.errors import IdempotencyKeyUsed, InvalidArgument
from rollout.core.once import OUTCOME_BYTES_MAX, CommandKey, Once, checked, digest_of, remembered, remembering

KEY = CommandKey("k", digest_of(b"POST", b"/kill", b"{}"))


def test_a_printable_key_and_a_bounded_outcome_pass() -> None:
    once = Once("6f9619ff-8b86 d011", b"x" * OUTCOME_BYTES_MAX)
    assert checked(once) is once


@pytest.mark.parametrize(
    "once", [Once("", b""), Once("k" * 201, b""), Once("k\n", b""), Once("ü", b""), Once("k", b"x" * 65_537)]
)
def test_others_are_refused(once: Once) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked(once)
    assert refused.value.hint


def test_what_a_store_remembers_can_be_read_again() -> None:
    once = remembering(KEY, actor="ann", feature="summarize", revision=7)
    assert checked(once).key == "k"
    found = remembered(KEY, "ann", once.outcome)
    assert (found.feature, found.revision) == ("summarize", 7)


@pytest.mark.parametrize(
    ("key", "actor", "outcome"),
    [
        (CommandKey("k", "other"), "ann", None),
        (KEY, "bob", None),
        (KEY, "ann", b"something else's"),
        (KEY, "ann", b"\xff"),
        (KEY, "ann", b'{"digest": "x", "actor": "ann", "feature": "f", "revision": 1, "more": 1}'),
    ],
)
def test_another_command_under_the_same_key_is_refused(key: CommandKey, actor: str, outcome: bytes | None) -> None:
    kept = remembering(KEY, actor="ann", feature="summarize", revision=7).outcome if outcome is None else outcome
    with pytest.raises(IdempotencyKeyUsed, match="'k' was used for another command"):
        remembered(key, actor, kept)


def test_commands_differ_by_where_their_parts_begin() -> None:
    assert digest_of(b"a", b"bc") != digest_of(b"ab", b"c")
    assert digest_of(b"a", b"bc") == digest_of(b"a", b"bc")
