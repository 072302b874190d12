import pytest
from msgspec.structs import replace

from rollout.core.gates import Result, Verdict
from rollout.core.ramp_model import GateMemory, GateRecord, Phase, Progress
from rollout.core.ramp_shown import (
    FRESH_S,
    Shown,
    decode_memory,
    decode_shown,
    encode_memory,
    is_news,
    shown_of,
)
from rollout.core.ramp_table import Hold, HoldReason, Transition

VERDICT = Verdict("errors", Result.PASS, "0.001 < 0.02", 99.0, value=0.001, limit=0.02, samples=40)
HOLD = Hold(HoldReason.BAKING, 3.0, 10.0)
SHOWN = Shown(3, Phase.RUNNING, 1, 100.0, "one", (HOLD,), (VERDICT,))


def test_what_a_tick_found_is_told_with_the_revision_after_it() -> None:
    progress = Progress(phase=Phase.RUNNING, step=1)
    asked = replace(VERDICT, metric="sum(rate(errors[5m]))" * 100)
    made = Transition(None, progress, 1_000, GateMemory(), holds=(HOLD,), verdicts=(asked,))
    assert shown_of(made, 3, at_s=100.0, holder="one") == SHOWN


def test_metrics_of_evidence_are_named_and_queries_are_not() -> None:
    asked = (replace(VERDICT, metric="errors"), replace(VERDICT, metric="up"))
    made = Transition(None, Progress(), 0, GateMemory(), verdicts=asked)
    assert [each.metric for each in shown_of(made, 3, at_s=1.0, holder="one").verdicts] == ["errors", ""]


@pytest.mark.parametrize("phase", list(Phase))
def test_what_the_gates_said_last_is_kept_while_a_kill_or_a_rollback_lasts(phase: Phase) -> None:
    stopped = Transition(None, Progress(phase=phase, ramp_began_s=90.0), 0, GateMemory())
    first = shown_of(stopped, 4, at_s=101.0, holder="one", before=SHOWN)
    second = shown_of(stopped, 5, at_s=102.0, holder="one", before=first)
    assert first.verdicts == second.verdicts == (), "nobody was asked"
    assert first.last == second.last == ((VERDICT,) if phase in {Phase.PAUSED, Phase.ROLLED_BACK} else ())
    later = stopped._replace(progress=replace(stopped.progress, ramp_began_s=100.0))
    assert shown_of(later, 6, at_s=103.0, holder="one", before=second).last == (), "of another attempt"
    asked = stopped._replace(verdicts=(VERDICT,))
    assert shown_of(asked, 6, at_s=103.0, holder="one", before=second).last == ()


def test_memory_and_sight_come_back_as_they_were() -> None:
    memory = GateMemory(1, {"g": GateRecord(2, (1.0, 2.0), 2.0)}, 5.0)
    raw = encode_memory(memory, SHOWN)
    assert (decode_memory(raw), decode_shown(raw)) == (memory, SHOWN)
    assert decode_shown(encode_memory(memory)) is None


@pytest.mark.parametrize("raw", [None, b"", b"{", b"\xff", b'{"odd":1}'])
def test_what_cannot_be_read_is_none(raw: bytes | None) -> None:
    assert (decode_memory(raw), decode_shown(raw)) == (GateMemory(), None)


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 4},
        {"phase": Phase.PAUSED},
        {"step": 2},
        {"holder": "two"},
        {"holds": (replace(HOLD, value=4.0),)},
        {"verdicts": (replace(VERDICT, value=0.002),)},
        {"verdicts": ()},
        {"at_s": 100.0 + FRESH_S},
        {"at_s": 99.0},
    ],
)
def test_changes_and_age_are_news(change: dict) -> None:
    assert is_news(SHOWN, replace(SHOWN, **change))


def test_the_first_look_is_news_and_time_alone_is_none() -> None:
    later = replace(SHOWN, at_s=101.0, verdicts=(replace(VERDICT, at_s=100.0),))
    assert is_news(None, SHOWN)
    assert not is_news(SHOWN, later)
