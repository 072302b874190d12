import pytest

from gateway.auth import Keyring
from gateway.core.admission.gate import Admission
from gateway.core.routing import Plan
from gateway.core.shedding import Shedding
from gateway.door import Door
from gateway.relay import Relay
from gateway.settings import Settings, UpstreamSettings
from gateway.tenants import Tenants
from gateway.upstream import build_upstream
from rollout.core.model import EMPTY_SNAPSHOT, Arm, Decision, Reason, UnitKind


@pytest.fixture
def relay() -> Relay:
    values = {"kind": "vllm", "base_urls": ["http://127.0.0.1:9/v1"], "model": "moe"}
    return Relay(
        keyring=Keyring(),
        snapshot=lambda: EMPTY_SNAPSHOT,
        upstreams={"inhouse": build_upstream("inhouse", UpstreamSettings.model_validate(values), None)},
        door=Door(Tenants(Settings()), Admission(), {}, Shedding(requests_max=1, queue_max=0, queue_wait_s=1.0)),
        record=lambda _: None,
        next_request_id=lambda: "req_1",
    )


def planned(feature: str = "draft", revision: int = 3) -> Plan:
    decision = Decision(feature, Arm.CANDIDATE, "inhouse", Reason.SPLIT, 5, UnitKind.USER, revision, 1_000)
    return Plan(feature, Arm.CANDIDATE, Reason.SPLIT, decision, "inhouse", "partner")


def lines(head: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in head.decode().removesuffix("\r\n").split("\r\n"))


def test_models_are_found_by_their_own_names(relay: Relay) -> None:
    assert relay.upstream_of_model == {"moe": "inhouse"}


def test_an_answer_says_what_was_decided_and_what_was_done(relay: Relay) -> None:
    assert lines(relay.answer_lines(planned(), "baseline", b"gpt", 2)) == {
        "x-glidepath-feature": "draft",
        "x-glidepath-arm": "baseline",
        "x-glidepath-assigned": "candidate",
        "x-glidepath-flag-version": "3",
        "x-glidepath-reason": "SPLIT",
        "x-glidepath-attempts": "2",
        "x-glidepath-model": "gpt",
    }


def test_a_bypass_has_no_flag(relay: Relay) -> None:
    shown = lines(relay.answer_lines(Plan("", "bypass", "bypass", None, "inhouse"), "bypass", b"moe", 1))
    assert (shown["x-glidepath-feature"], shown["x-glidepath-flag-version"]) == ("", "0")


def test_the_lines_of_many_revisions_are_right_and_few_are_kept(relay: Relay) -> None:
    for revision in range(10_000):
        shown = lines(relay.answer_lines(planned(revision=revision), "candidate", b"moe", 1))
        assert shown["x-glidepath-flag-version"] == str(revision)
    assert len(relay._heads) <= 4_096
    assert relay.answer_lines(planned(), "candidate", b"moe", 1) is relay.answer_lines(
        planned(), "candidate", b"moe", 1
    )


def test_sweeping_and_closing_with_nothing_under_way(relay: Relay) -> None:
    relay.sweep(1_000.0)
    relay.close()
    assert not relay.active
