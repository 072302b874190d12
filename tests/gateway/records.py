"""One settled request, for tests to change what they are about."""

from __future__ import annotations

from gateway.core.outcome import Record

SETTLED = Record(
    request_id="r",
    at_s=1.0,
    operation="chat",
    feature="draft",
    assigned="candidate",
    served="candidate",
    reason="SPLIT",
    unit_kind="user",
    bucket=5,
    revision=1,
    tenant="acme",
    upstream="inhouse",
    stream=False,
    status=200,
    outcome="ok",
    cause="",
    attempts=1,
    client_retries=0,
    sent_s=0.001,
    ttft_s=None,
    duration_s=0.5,
    prompt_tokens=None,
    completion_tokens=None,
)
"""A plain answer of the candidate."""
