import pytest
from msgspec.structs import replace

from gateway.core.explaining import Document, cause_in_words, story
from gateway.core.outcome import Record
from gateway.core.trace import Trace
from rollout.core.audit import AuditEntry
from rollout.core.model import FeatureFlag, Holdout, Kill
from tests.gateway.records import SETTLED

RECORD = replace(
    SETTLED,
    at_s=100.0,
    bucket=1_234,
    revision=7,
    stream=True,
    ttft_s=0.25,
    prompt_tokens=11,
    completion_tokens=7,
    key_id="key_1",
    endpoint="http://vllm:8000/v1",
    hash_version=3,
)
CHANGE = AuditEntry(
    at_s=50.0,
    actor="ann",
    command="set-share",
    reason="evaluation passed",
    feature="draft",
    revision_before=6,
    revision_after=7,
    share_before_millipct=1_000,
    share_after_millipct=5_000,
)
FLAG = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", revision=7, share_millipct=5_000)
DOCUMENT = Document(CHANGE, FLAG)


def told(record: Record, document: Document = DOCUMENT) -> dict[str, str]:
    return {step.check: step.found for step in story(record, document)}


def test_a_request_that_went_well() -> None:
    assert told(RECORD) == {
        "request": "chat, streamed; tenant acme, key key_1",
        "document": "feature draft at revision 7: share 5%; set-share by ann: evaluation passed",
        "arm": "candidate, SPLIT: the user has bucket 1234 of 100000 by hash version 3, "
        "which is below the candidate's 5000 (5%)",
        "attempts": "candidate: inhouse at http://vllm:8000/v1",
        "outcome": "ok, status 200",
        "times": "sent on after 1.0 ms, first content after 250.0 ms, ended after 500.0 ms",
        "tokens": "11 in, 7 out",
    }


@pytest.mark.parametrize(
    ("change", "document", "words"),
    [
        ({"bucket": 5_000, "assigned": "baseline"}, DOCUMENT, ("baseline, SPLIT: the user has bucket 5000 of 100000 "
         "by hash version 3, which is not below the candidate's 5000 (5%)")),
        ({}, Document(), "candidate, SPLIT: the user has bucket 1234 of 100000"),
        ({"reason": "HOLDOUT", "assigned": "baseline"}, Document(), ("baseline, HOLDOUT: the user is one of the sample "
         "that never gets the candidate (bucket 1234 by hash version 3)")),
        ({"hash_version": 0}, Document(), "candidate, SPLIT: the user has bucket 1234 of 100000"),
        ({"reason": "HOLDOUT"}, Document(CHANGE, replace(FLAG, holdout=Holdout(2_500))), "one of the 2.5% that never"),
        ({"reason": "KILLED"}, Document(), "the feature was killed"),
        ({"reason": "KILLED"}, Document(CHANGE, replace(FLAG, kill=Kill(True, "bob", 1.0, "bad answers"))),
         "the feature was killed by bob: bad answers"),
        ({"reason": "KILLED"}, DOCUMENT, "this replica killed the feature"),
        ({"reason": "NO_UNIT"}, DOCUMENT, "nothing to draw a bucket from"),
        ({"reason": "DISABLED"}, DOCUMENT, "disabled"),
        ({"reason": "ERROR"}, DOCUMENT, "deciding failed"),
        ({"reason": "RESIDENCY"}, DOCUMENT, "regions of the tenant"),
        ({"reason": "PINNED"}, DOCUMENT, "continues a response"),
    ],
)  # fmt: skip
def test_why_it_got_its_arm(change: dict[str, object], document: Document, words: str) -> None:
    assert words in told(replace(RECORD, **change), document)["arm"]


def test_a_real_model_called_by_its_name() -> None:
    bypassed = replace(RECORD, feature="", assigned="bypass", served="bypass", reason="bypass", revision=0)
    steps = told(bypassed, Document())
    assert "document" not in steps
    assert steps["arm"] == "a real model was called by its own name: no rollout decided"
    assert steps["attempts"] == "bypass: inhouse at http://vllm:8000/v1"


def test_a_document_that_is_not_known_any_more() -> None:
    assert told(RECORD, Document())["document"] == "feature draft at revision 7; the audit log does not tell more"
    assert told(replace(RECORD, revision=0), Document())["document"] == "feature draft"


@pytest.mark.parametrize(
    ("document", "first"), [(DOCUMENT, "first inhouse"), (Document(), "first the candidate's upstream")]
)
def test_a_failover_says_what_failed_first(document: Document, first: str) -> None:
    second = replace(
        RECORD, attempts=2, served="baseline", upstream="partner", endpoint="", failed_outcome="timeout",
        failed_cause="first_byte_timeout",
    )  # fmt: skip
    steps = told(second, document)
    assert steps["attempts"] == (
        f"{first}, which failed (timeout: no answer began within first_byte_timeout_s (first_byte_timeout)); "
        "then the other arm, baseline: partner"
    )
    assert steps["times"].startswith("sent on for the last time after")


def test_a_retry_at_the_same_upstream() -> None:
    again = replace(RECORD, attempts=2, failed_outcome="upstream_error", failed_cause="status_503")
    expected = (
        "first inhouse, which failed (upstream_error: the upstream answered 503 (status_503)); "
        "then again candidate: inhouse at http://vllm:8000/v1"
    )
    assert told(again)["attempts"] == expected


def test_an_attempt_at_nobody() -> None:
    assert told(replace(RECORD, upstream="", endpoint="", served=""))["attempts"] == "nobody: no upstream"


def test_the_refused_and_the_cancelled() -> None:
    stranger = replace(
        RECORD, tenant="", feature="", assigned="", served="", reason="", revision=0, attempts=0, stream=False,
        status=401, outcome="refused", cause="invalid_api_key", sent_s=None, ttft_s=None,
        prompt_tokens=None, completion_tokens=None,
    )  # fmt: skip
    assert told(stranger, Document()) == {
        "request": "chat, not streamed; no valid key",
        "attempts": "nobody was asked",
        "outcome": "refused, status 401; no valid API key was sent (invalid_api_key)",
        "times": "ended after 500.0 ms",
    }
    gone = told(replace(RECORD, outcome="cancelled", cause="caller_gone", status=0, completion_tokens=None))
    assert gone["outcome"] == (
        "cancelled, no status sent; the caller left before the answer was complete (caller_gone)"
    )
    assert gone["tokens"] == "11 in"
    assert told(replace(RECORD, status=400, outcome="refused", cause="refused"))["outcome"] == "refused, status 400"


def test_retries_of_the_sdk_and_the_trace() -> None:
    steps = told(replace(RECORD, client_retries=2, trace=Trace("a" * 32, "b" * 16)))
    assert steps["retries"] == "the SDK says it is retry number 2"
    assert steps["trace"] == "a" * 32


def test_a_cause_without_words_is_told_as_it_is() -> None:
    assert cause_in_words("something_new") == "something_new"
