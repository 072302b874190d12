import pytest

from rollout.core import errors
from rollout.core.model import FeatureFlag


@pytest.mark.parametrize(
    ("fault", "exit_code"),
    [
        (errors.RolloutError("c", "h"), 1),
        (errors.InvalidDocument("c", "h"), 2),
        (errors.InvalidArgument("c", "h"), 2),
        (errors.RevisionConflict("f", 1, None), 3),
        (errors.UnknownFeature("f", ()), 4),
        (errors.StoreUnavailable("c", "h"), 5),
        (errors.ShareIncreaseRefused("c", "h"), 1),
        (errors.RampRefused("c", "h"), 1),
        (errors.ApprovalRequired("c", "h"), 1),
        (errors.UnknownKey("k", ()), 4),
        (errors.KeyRefused("c", "h"), 1),
        (errors.StaleWriter("controller", 4, 7), 3),
        (errors.CommandRepeated("key", b"done"), 1),
        (errors.IdempotencyKeyUsed("key"), 1),
        (errors.StoreReset("c", "h"), 5),
    ],
)
def test_every_fault_has_a_line_of_cause_a_hint_and_an_exit_code(fault: errors.RolloutError, exit_code: int) -> None:
    assert fault.exit_code == exit_code
    assert fault.cause
    assert "\n" not in fault.cause
    assert fault.hint
    assert str(fault) == fault.cause


def test_an_unknown_feature_names_the_nearest() -> None:
    fault = errors.UnknownFeature("sumarize", ["draft", "summarize", "rewrite"])
    assert fault.nearest[0] == "summarize"
    assert "did you mean summarize" in fault.hint
    assert errors.UnknownFeature("zzz", ["draft"]).hint == "known: draft"
    assert errors.UnknownFeature("zzz", []).hint == "known: none"


def test_a_conflict_carries_the_state_in_force() -> None:
    current = FeatureFlag(feature="f", candidate="a", baseline="b", revision=4)
    fault = errors.RevisionConflict("f", 3, current)
    assert fault.current is current
    assert "is at revision 4" in fault.cause
    assert "does not exist" in errors.RevisionConflict("f", 3, None).cause


def test_a_name_begun_comes_before_a_similar_one() -> None:
    assert errors.nearest_names("share", ["state", "share_millipct", "salt"])[0] == "share_millipct"
    assert errors.nearest_names("", ["state"]) == ()


def test_an_unknown_key_names_the_nearest_and_is_cut_short() -> None:
    assert errors.UnknownKey("key_ab13", ["key_ab12", "key_ffff"]).hint == "did you mean key_ab12?"
    assert "keys list" in errors.UnknownKey("key_1f2e3d4c5b6a", ["key_b39e32bee657", "key_2fdb68194706"]).hint
    assert len(errors.UnknownKey("x" * 9_999, ["key_ab12"]).cause) < 200


def test_a_stale_writer_is_told_both_tokens() -> None:
    fault = errors.StaleWriter("controller", 4, 7)
    assert fault.newest == 7
    assert "token 4 was used, the newest is 7" in fault.cause


def test_a_repeated_command_carries_its_outcome() -> None:
    assert errors.CommandRepeated("key", b"done").outcome == b"done"


def test_a_refused_document_tells_the_first_fault_and_keeps_all() -> None:
    assert errors.DocumentRefused(["a"]).cause == "a"
    refused = errors.DocumentRefused(["a", "b", "c"], "do this")
    assert (refused.cause, refused.hint, refused.faults) == ("a (and 2 more)", "do this", ("a", "b", "c"))
    assert refused.exit_code == 2


def test_damaged_flags_come_with_those_that_can_be_read() -> None:
    fault = errors.DamagedFlags(errors.InvalidDocument("a stored flag is damaged", "restore it"), {})
    assert (fault.cause, fault.hint, fault.readable) == ("a stored flag is damaged", "restore it", {})
    assert fault.exit_code == errors.InvalidDocument.exit_code
