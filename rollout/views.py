"""The shapes of the operator API's requests and answers, as OpenAPI shows them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from rollout.core.audit import AuditEntry
from rollout.core.evaluate import Explanation
from rollout.core.model import BUCKETS, FeatureFlag, State
from rollout.core.share import format_share, parse_share
from rollout.operations import KillOutcome

Reason = Annotated[str, Field(min_length=1, max_length=500, description="why, for the audit log")]
Unit = Annotated[str | None, Field(max_length=500)]
_AttributeName = Annotated[str, Field(max_length=64)]
_AttributeValue = Annotated[str, Field(max_length=512)] | StrictBool | StrictInt | StrictFloat
Attributes = Annotated[dict[_AttributeName, _AttributeValue], Field(max_length=16, description="as in `metadata`")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Because(_Request):
    """A change that needs nothing but a reason."""

    reason: Reason


class ShareChange(Because):
    """A new share: `share_millipct` (thousandths of a percent) or `share` ("12.5%"), not both."""

    share_millipct: Annotated[StrictInt | None, Field(ge=0, le=BUCKETS)] = None
    share: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "ShareChange":
        if (self.share is None) == (self.share_millipct is None):
            raise ValueError("give exactly one of share and share_millipct")
        return self

    def millipct(self) -> int:
        """Return the share asked for; InvalidArgument for a `share` that is none."""
        return parse_share(self.share or "") if self.share_millipct is None else self.share_millipct


class Asked(_Request):
    """A subject to explain."""

    conversation: Unit = None
    user: Unit = None
    tenant: Unit = None
    request: Unit = None
    attributes: Attributes = {}


class HoldoutView(BaseModel):
    """The sample that never gets the candidate."""

    millipct: int
    salt: str


class KillView(BaseModel):
    """The kill overlay as committed; `at` is Unix time."""

    on: bool
    actor: str
    at: float
    reason: str


class FeatureView(BaseModel):
    """A flag as committed, and what of it is in force on this replica."""

    feature: str
    revision: int
    state: State
    owner: str
    candidate: str
    baseline: str
    bucketBy: str  # noqa: N815  spelt as in the document
    hashVersion: int  # noqa: N815
    salt: str
    share_millipct: int
    share: str
    in_force_millipct: Annotated[int, Field(description="share in force here: 0 while killed or disabled")]
    holdout: HoldoutView
    kill: KillView
    killed_locally: bool
    store: Annotated[str, Field(description='"ok", or that the store is down and this is the last good snapshot')]


class FeatureList(BaseModel):
    """All features. `age_s` is the time since the store confirmed this replica's snapshot; null for never."""

    version: int
    store: str
    age_s: float | None
    last_error: str | None
    features: list[FeatureView]


class KillAnswer(BaseModel):
    """How a kill or its lifting ended; `flag` is null when the store could not give it."""

    feature: str
    killed: bool
    store: str
    flag: FeatureView | None


class AuditView(BaseModel):
    """One entry of the audit log; `details` holds the changed fields' new values."""

    id: int
    at_s: float
    actor: str
    command: str
    reason: str
    feature: str
    revision_before: int
    revision_after: int
    share_before_millipct: int
    share_after_millipct: int
    details: dict[str, Any]


class HistoryPage(BaseModel):
    """Entries, newest first; `before` fetches the next page, null at the end."""

    entries: list[AuditView]
    before: int | None


class StepView(BaseModel):
    """One step of an explanation."""

    check: str
    found: str
    settled: bool


class ExplanationView(BaseModel):
    """A decision of this replica's snapshot and the steps that led to it."""

    feature: str
    arm: Literal["candidate", "baseline"]
    upstream: str
    reason: str
    bucket: int
    unit_kind: str | None
    revision: int
    share_millipct: int
    steps: list[StepView]


class Problem(BaseModel):
    """An error (RFC 9457) with what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    hint: str


def feature_view(flag: FeatureFlag, *, killed_locally: bool, store: str = "ok") -> FeatureView:
    """Show a flag."""
    off = killed_locally or flag.kill.on or flag.state is State.DISABLED
    fields: dict[str, Any] = msgspec.to_builtins(flag)
    del fields["schemaVersion"]
    fields["salt"] = flag.split_salt
    fields["holdout"]["salt"] = flag.holdout_salt
    return FeatureView(
        **fields,
        share=format_share(flag.share_millipct),
        in_force_millipct=0 if off else flag.share_millipct,
        killed_locally=killed_locally,
        store=store,
    )


def feature_views(
    flags: Mapping[str, FeatureFlag], killed_locally: Mapping[str, bool], store: str
) -> list[FeatureView]:
    """Show flags by name."""
    return [feature_view(flags[name], killed_locally=killed_locally[name], store=store) for name in sorted(flags)]


def kill_answer(outcome: KillOutcome, *, killed_locally: bool) -> KillAnswer:
    """Show how a kill ended."""
    flag = outcome.flag
    return KillAnswer(
        feature=outcome.feature,
        killed=outcome.killed or killed_locally,
        store=outcome.store,
        flag=None if flag is None else feature_view(flag, killed_locally=killed_locally),
    )


def history_page(entries: list[AuditEntry], limit: int) -> HistoryPage:
    """Show one page of at most `limit` entries."""
    shown = [AuditView(**msgspec.to_builtins(entry)) for entry in entries]
    return HistoryPage(entries=shown, before=shown[-1].id if len(shown) == limit else None)


def explanation_view(explanation: Explanation) -> ExplanationView:
    """Show a decision and its steps."""
    steps = [StepView(**step._asdict()) for step in explanation.steps]
    return ExplanationView(**msgspec.to_builtins(explanation.decision), steps=steps)
