"""What became of one request, in words for operators: from its Record, and the document that was in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.routing import BYPASS, PINNED, RESIDENCY
from rollout.core.model import BUCKETS, Reason
from rollout.core.share import format_share

if TYPE_CHECKING:
    from gateway.core.outcome import Record
    from rollout.core.audit import AuditEntry
    from rollout.core.model import FeatureFlag

_MS_PER_S = 1_000
_STATUS = "status_"
_CAUSES = {
    # of callers
    "caller_gone": "the caller left before the answer was complete",
    "caller_stalled": "the caller stopped reading the answer",
    # of attempts
    "answer_too_large": "the answer was larger than answer_max_bytes",
    "bad_answer": "the upstream's answer was not an API's",
    "closed": "the gateway closed its connections",
    "connect_timeout": "no connection was made within connect_timeout_s",
    "cut": "the stream ended before its end",
    "ejected": "no endpoint admitted a request (breaker or health check)",
    "empty_stream": "the stream ended before its first event",
    "event_too_large": "one event of the stream was too large",
    "first_byte_timeout": "no answer began within first_byte_timeout_s",
    "idle_timeout": "the answer stopped for longer than idle_timeout_s",
    "in_band_error": "the upstream ended its stream with an error",
    "proxy_refused": "the proxy refused to connect to it",
    "queue_full": "too many requests waited for a connection (waiting_max)",
    "queue_timeout": "no connection was free within queue_timeout_s",
    "refused": "nobody accepted a connection there",
    "reset": "the upstream broke the connection",
    "tls": "TLS could not be agreed on, or its certificate was not accepted",
    "total_timeout": "it took longer than total_timeout_s, or than the caller wished",
    "unknown_upstream": "the document names an upstream that the configuration lacks",
    # of refusals
    "draining": "the gateway was shutting down",
    "insufficient_quota": "the budget of the key or its tenant is spent",
    "invalid_api_key": "no valid API key was sent",
    "model_bypass_forbidden": "the key may call features only, not real models",
    "model_not_found": "there is no such feature or model, or the key may not call it",
    "not_ready": "this worker had no document yet",
    "overloaded": "too many requests were under way (requests_max, queue_max, queue_wait_s)",
    "previous_response_not_found": "the response it continues is with a model that serves the feature no more",
    "rate_limit_exceeded": "a limit per minute of the key or its tenant was used up",
    "residency": "no upstream is in a region that the tenant's data may go to",
    "too_many_concurrent_requests": "the key or its tenant had too many requests under way (concurrent_max)",
}
_UNDRAWN = {
    Reason.NO_UNIT: "it brought nothing to draw a bucket from, so the baseline",
    Reason.DISABLED: "the feature was disabled, so everybody got the baseline",
    Reason.INELIGIBLE: "the flag does not let it get the candidate (tenants, early access, rule), so the baseline",
    Reason.PREREQUISITE: "another feature that this one needs is off or gave it the baseline, so the baseline",
    Reason.ERROR: "deciding failed (as for metadata that no rule can read), so the baseline",
    RESIDENCY: "the regions of the tenant leave this arm only; no bucket was drawn",
    PINNED: "it continues a response or a conversation that began on this arm; no bucket counts",
    BYPASS: "a real model was called by its own name: no rollout decided",
}


class Step(NamedTuple):
    """One line of the story."""

    check: str
    found: str


class Document(NamedTuple):
    """The document in force then, as far as the audit log still tells: the change that made it, the flag after it."""

    change: AuditEntry | None = None
    flag: FeatureFlag | None = None


def story(record: Record, document: Document) -> tuple[Step, ...]:
    """Tell a request from its arrival to its end; what doesn't apply is left out."""
    steps = (
        ("request", _request(record)),
        ("document", _document(record, document.change)),
        ("arm", _arm(record, document)),
        ("attempts", _attempts(record, document.flag)),
        ("outcome", _outcome(record)),
        ("times", _times(record)),
        ("tokens", _tokens(record)),
        ("retries", f"the SDK says it is retry number {record.client_retries}" if record.client_retries else ""),
        ("trace", record.trace.trace_id if record.trace else ""),
    )
    return tuple(Step(check, found) for check, found in steps if found)


def cause_in_words(cause: str) -> str:
    """Say what a cause means, with the cause itself for whoever looks for it in metrics and logs."""
    words = _CAUSES.get(cause)
    if words is None and cause.startswith(_STATUS):
        words = f"the upstream answered {cause.removeprefix(_STATUS)}"
    return cause if words is None else f"{words} ({cause})"


def _request(record: Record) -> str:
    kind = f"{record.operation}, {'streamed' if record.stream else 'not streamed'}"
    who = f"tenant {record.tenant}, key {record.key_id}" if record.tenant else "no valid key"
    return f"{kind}; {who}"


def _document(record: Record, change: AuditEntry | None) -> str:
    if not record.revision:
        return f"feature {record.feature}" if record.feature else ""
    made = f"feature {record.feature} at revision {record.revision}"
    if change is None:
        return f"{made}; the audit log does not tell more"
    share = format_share(change.share_after_millipct)
    return f"{made}: share {share}; {change.command} by {change.actor}: {change.reason}"


def _arm(record: Record, document: Document) -> str:
    reason, flag = record.reason, document.flag
    if not reason:
        return ""
    if reason == BYPASS:
        return _UNDRAWN[BYPASS]
    words = _UNDRAWN.get(reason, "")
    if reason == Reason.SPLIT:
        words = _split(record, document.change)
    elif reason == Reason.HOLDOUT:
        words = _holdout(record, flag)
    elif reason == Reason.KILLED:
        words = _kill(flag)
    return f"{record.assigned}, {reason}: {words}"


def _split(record: Record, change: AuditEntry | None) -> str:
    drawn = f"the {record.unit_kind} has bucket {record.bucket} of {BUCKETS}{_version(record)}"
    if change is None:
        return drawn
    share = change.share_after_millipct
    where = "below" if record.bucket < share else "not below"
    return f"{drawn}, which is {where} the candidate's {share} ({format_share(share)})"


def _holdout(record: Record, flag: FeatureFlag | None) -> str:
    sample = "the sample" if flag is None else f"the {format_share(flag.holdout.millipct)}"
    bucket = f"bucket {record.bucket}{_version(record)}"
    return f"the {record.unit_kind} is one of {sample} that never gets the candidate ({bucket})"


def _version(record: Record) -> str:
    return f" by hash version {record.hash_version}" if record.hash_version else ""


def _kill(flag: FeatureFlag | None) -> str:
    if flag is None:
        return "the feature was killed"
    if flag.kill.on:
        return f"the feature was killed by {flag.kill.actor}: {flag.kill.reason}"
    return "this replica killed the feature (its kill file, or a kill that the store could not take)"


def _attempts(record: Record, flag: FeatureFlag | None) -> str:
    if not record.attempts:
        return "nobody was asked"
    last = f"{record.served or 'nobody'}: {record.upstream or 'no upstream'}"
    if record.endpoint:
        last += f" at {record.endpoint}"
    if record.attempts == 1:
        return last
    failed_over = record.served != record.assigned
    first = record.upstream
    if failed_over:
        first = flag.candidate if flag else f"the {record.assigned}'s upstream"
    how = f"{record.failed_outcome}: {cause_in_words(record.failed_cause)}"
    return f"first {first}, which failed ({how}); then {'the other arm, ' if failed_over else 'again '}{last}"


def _outcome(record: Record) -> str:
    told = f"{record.outcome}, status {record.status}" if record.status else f"{record.outcome}, no status sent"
    known = record.cause and record.cause != record.outcome
    return f"{told}; {cause_in_words(record.cause)}" if known else told


def _times(record: Record) -> str:
    sent = "sent on for the last time" if record.attempts > 1 else "sent on"
    parts = [(sent, record.sent_s), ("first content", record.ttft_s), ("ended", record.duration_s)]
    return ", ".join(f"{name} after {value * _MS_PER_S:.1f} ms" for name, value in parts if value is not None)


def _tokens(record: Record) -> str:
    if record.prompt_tokens is None and record.completion_tokens is None:
        return ""
    known = ((record.prompt_tokens, "in"), (record.completion_tokens, "out"))
    return ", ".join(f"{number} {name}" for number, name in known if number is not None)
