"""The shapes of the operator API's requests and answers, as OpenAPI shows them."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from rollout.api.state_views import RampStateView, VerdictView, ramp_state_view, whole
from rollout.core.audit import AuditEntry
from rollout.core.eligibility import NAMES
from rollout.core.evaluate import Explanation
from rollout.core.model import BUCKETS, NO_ATTRIBUTES, FeatureFlag, State, Subject
from rollout.core.ramp_state import Look, state_of
from rollout.core.share import format_share, parse_share
from rollout.stops import StopOutcome

Reason = Annotated[str, Field(min_length=1, max_length=500, description="why, for the audit log")]
Unit = Annotated[str | None, Field(max_length=500)]
AttributeName = Annotated[str, Field(min_length=1, max_length=64)]
_Word = Annotated[StrictStr, Field(max_length=512)]
_Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
AttributeValue = _Word | StrictBool | StrictInt | _Number | Annotated[list[_Word], Field(max_length=100)]
_ATTRIBUTES_MAX = 16
_NO_LOOK = Look()


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
    """A subject to explain; `attributes` are what rules read besides: as in `metadata`, or OFREP's lists."""

    conversation: Unit = None
    user: Unit = None
    tenant: Unit = None
    request: Unit = None
    attributes: Annotated[dict[AttributeName, AttributeValue], Field(max_length=_ATTRIBUTES_MAX)] = {}

    @model_validator(mode="after")
    def _no_name_twice(self) -> "Asked":
        if taken := self.attributes.keys() & set(NAMES):
            raise ValueError(f"{', '.join(sorted(taken))} can't be attributes: give them by their own names")
        return self

    def subject(self) -> Subject:
        """Return who is asked about."""
        read = {name: tuple(value) if isinstance(value, list) else value for name, value in self.attributes.items()}
        return Subject(self.conversation, self.user, self.tenant, self.request, read or NO_ATTRIBUTES)


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
    """A flag as committed, what of it is in force on this replica, and where its ramp stands.

    The sections are those of the document, with their defaults; `ramp_state` is null without a ramp.
    """

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
    eligibility: dict[str, Any]
    prerequisites: list[dict[str, Any]]
    holdout: HoldoutView
    shadow: dict[str, Any]
    kill: KillView
    ramp: dict[str, Any] | None
    gates: list[dict[str, Any]]
    rollback: dict[str, Any]
    progress: Annotated[dict[str, Any], Field(description="what the ramp knows of itself, stored with the flag")]
    ramp_state: RampStateView | None
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
    verdicts: Annotated[list[VerdictView], Field(description="what the gates said when it was decided")]


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


def feature_view(
    flag: FeatureFlag, *, killed_locally: bool, now_s: float, store: str = "ok", look: Look = _NO_LOOK
) -> FeatureView:
    """Show a flag at Unix time `now_s`. Right after a write nobody has looked at it: that needs no `look`."""
    off = killed_locally or flag.kill.on or flag.state is State.DISABLED
    fields: dict[str, Any] = whole(flag)
    del fields["schemaVersion"]
    fields["salt"] = flag.split_salt
    fields["holdout"]["salt"] = flag.holdout_salt
    fields["shadow"]["salt"] = flag.shadow_salt
    state = state_of(flag, look, now_s, killed_locally=killed_locally)
    return FeatureView(
        **fields,
        share=format_share(flag.share_millipct),
        in_force_millipct=0 if off else flag.share_millipct,
        killed_locally=killed_locally,
        store=store,
        ramp_state=None if state is None else ramp_state_view(state),
    )


def kill_answer(outcome: StopOutcome, *, killed_locally: bool, now_s: float) -> KillAnswer:
    """Show how a kill ended."""
    flag = outcome.flag
    return KillAnswer(
        feature=outcome.feature,
        killed=outcome.killed or killed_locally,
        store=outcome.store,
        flag=None if flag is None else feature_view(flag, killed_locally=killed_locally, now_s=now_s),
    )


def history_page(entries: list[AuditEntry], limit: int) -> HistoryPage:
    """Show one page of at most `limit` entries."""
    shown = [AuditView(**msgspec.to_builtins(entry)) for entry in entries]
    return HistoryPage(entries=shown, before=shown[-1].id if len(shown) == limit else None)


def explanation_view(explanation: Explanation) -> ExplanationView:
    """Show a decision and its steps."""
    steps = [StepView(**step._asdict()) for step in explanation.steps]
    return ExplanationView(**msgspec.to_builtins(explanation.decision), steps=steps)
