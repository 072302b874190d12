"""Frozen values of the rollout engine: the flag, the subject, the decision, the snapshot."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from rollout.core.duration import parse_duration
from rollout.core.jsonlogic import compile_rule
from rollout.core.ramp_model import GATES_MAX, Evidence, Gate, Progress, RampPlan, Rollback

BUCKETS = 100_000
"""Number of buckets; one bucket is a thousandth of a percent."""

SCHEMA_VERSION = 1
NOT_LOADED = -1
"""Version of the snapshot of a process that has never seen a document."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

FeatureName = Annotated[str, Meta(pattern=NAME_PATTERN)]
UpstreamName = Annotated[str, Meta(pattern=NAME_PATTERN)]
Salt = Annotated[str, Meta(min_length=1, max_length=200)]
Millipct = Annotated[int, Meta(ge=0, le=BUCKETS)]
Text = Annotated[str, Meta(max_length=500)]
TenantName = Annotated[str, Meta(min_length=1, max_length=200)]

TENANTS_MAX = 1_000
ENROLMENTS_MAX = 1_000
PREREQUISITES_MAX = 4
KEEP_MIN_S, KEEP_MAX_S = 3_600.0, 90 * 86_400.0

Attribute = str | bool | int | float | tuple[str, ...] | None
NO_ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType({})


class Arm(StrEnum):
    """The two sides of a rollout."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"


class Reason(StrEnum):
    """Why a subject got its arm. A closed set: it is a metric label."""

    SPLIT = "SPLIT"
    KILLED = "KILLED"
    DISABLED = "DISABLED"
    HOLDOUT = "HOLDOUT"
    INELIGIBLE = "INELIGIBLE"
    PREREQUISITE = "PREREQUISITE"
    NO_UNIT = "NO_UNIT"
    UNKNOWN_FEATURE = "UNKNOWN_FEATURE"
    NO_SNAPSHOT = "NO_SNAPSHOT"
    ERROR = "ERROR"


class UnitKind(StrEnum):
    """What is hashed into a bucket. A request as unit has no arm to keep: each one is drawn anew."""

    CONVERSATION = "conversation"
    USER = "user"
    TENANT = "tenant"
    REQUEST = "request"


class State(StrEnum):
    """flagd's flag state."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class Audience(StrEnum):
    """Whom a flag is for: everybody whom its rule lets through, or of those only the listed."""

    EVERYONE = "everyone"
    LISTED = "listed"


class EnrolmentState(StrEnum):
    """Where a wish for early access stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"


class Subject(NamedTuple):
    """Who asks: a field per UnitKind, then what rules may read besides.

    An absent part is None; an empty one counts as absent. `attributes` must not change while the subject is in use.
    """

    conversation: str | None = None
    user: str | None = None
    tenant: str | None = None
    request: str | None = None
    attributes: Mapping[str, Attribute] = NO_ATTRIBUTES


class Kill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The kill overlay of a flag; `at_s` is Unix time."""

    on: bool = False
    actor: Text = ""
    at_s: float = msgspec.field(default=0.0, name="at")
    reason: Text = ""


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sample that never gets the candidate; an empty salt means "<feature>:holdout"."""

    millipct: Millipct = 0
    salt: Annotated[str, Meta(max_length=200)] = ""


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for early access: of one user of a tenant, or of the whole tenant when `user` is empty; Unix times."""

    tenant: TenantName
    user: Annotated[str, Meta(max_length=512)] = ""
    state: EnrolmentState = EnrolmentState.REQUESTED
    requested_by: Text = ""
    requested_at_s: float = msgspec.field(default=0.0, name="requested_at")
    decided_by: Text = ""
    decided_at_s: float = msgspec.field(default=0.0, name="decided_at")


class Eligibility(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may ever get the candidate: whom `attributes` (a rule) lets through, and who is listed if that is asked for.

    Listed are the tenants and the approved entries of the early-access list. A change of `audience` is always
    explicit: neither the first wish for early access nor the last refusal changes who else is eligible.
    """

    audience: Audience = Audience.EVERYONE
    tenants: Annotated[tuple[TenantName, ...], Meta(max_length=TENANTS_MAX)] = ()
    early_access: Annotated[tuple[Enrolment, ...], Meta(max_length=ENROLMENTS_MAX)] = ()
    attributes: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what would be ignored or could be meant in two ways, and rules outside the subset."""
        if self.tenants and self.audience is Audience.EVERYONE:
            raise ValueError('tenants have no effect while audience is "everyone"; make it "listed"')
        if len(set(self.tenants)) < len(self.tenants):
            raise ValueError("a tenant is listed twice")
        if len({(each.tenant, each.user) for each in self.early_access}) < len(self.early_access):
            raise ValueError("early_access has two entries for the same tenant and user")
        if self.attributes is not None:
            compile_rule(self.attributes)


class Needs(StrEnum):
    """What a prerequisite wants of another feature. Each can only be lost by a kill, a disabling or a smaller share."""

    CANDIDATE = "candidate"
    ENABLED = "enabled"


class Prerequisite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another feature that must be in operation ("enabled"), or give the same subject its candidate."""

    feature: FeatureName
    needs: Needs = Needs.CANDIDATE


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which texts of the shadow sample are kept, redacted, and for how long at most: nothing unless it is said.

    `pairs`: requests with both answers, for people who compare and for training; `answers`: requests with the answer
    that the caller got, for its ratings.
    """

    pairs: bool = False
    answers: bool = False
    ttl: Annotated[str, Meta(pattern=r"^[0-9]{1,9}[smhd]$")] = "7d"

    def __post_init__(self) -> None:
        """Refuse times that can't be meant: texts go by the hour, and not into an archive."""
        if not KEEP_MIN_S <= self.ttl_s <= KEEP_MAX_S:
            raise ValueError("keep.ttl must be 1h to 90d")

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return self.pairs or self.answers

    @property
    def ttl_s(self) -> float:
        """Seconds."""
        return parse_duration(self.ttl)


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sample whose requests the other arm gets a copy of, drawn apart from the arms; its answers nobody sees.

    `daily_budget`: copies per day; `judge`: who compares the answers, "" for nobody; an empty salt means
    "<feature>:shadow".
    """

    millipct: Millipct = 0
    salt: Annotated[str, Meta(max_length=200)] = ""
    daily_budget: Annotated[int, Meta(ge=0, le=10**9)] = 0
    max_concurrent: Annotated[int, Meta(ge=0, le=10**4)] = 0
    judge: Annotated[str, Meta(pattern=rf"^$|{NAME_PATTERN}")] = ""
    keep: Keep = Keep()

    def __post_init__(self) -> None:
        """Refuse a sample that could never be served."""
        if self.millipct and not (self.daily_budget and self.max_concurrent):
            raise ValueError("a shadow sample needs daily_budget and max_concurrent of at least 1")


class FeatureFlag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of `x-rollouts` with its name. Revision 0 means "never stored"."""

    feature: FeatureName
    candidate: UpstreamName
    baseline: UpstreamName
    schema_version: Literal[1] = msgspec.field(default=1, name="schemaVersion")
    revision: Annotated[int, Meta(ge=0)] = 0
    owner: Annotated[str, Meta(max_length=200)] = ""
    state: State = State.ENABLED
    hash_version: Literal[2, 3] = msgspec.field(default=3, name="hashVersion")
    salt: Annotated[str, Meta(max_length=200)] = ""
    bucket_by: UnitKind = msgspec.field(default=UnitKind.CONVERSATION, name="bucketBy")
    share_millipct: Millipct = 0
    sticky: bool = False
    """Whether a conversation stays on the baseline while the share grows past it, if its caller says it began there."""
    eligibility: Eligibility = Eligibility()
    prerequisites: Annotated[tuple[Prerequisite, ...], Meta(max_length=PREREQUISITES_MAX)] = ()
    holdout: Holdout = Holdout()
    shadow: Shadow = Shadow()
    kill: Kill = Kill()
    ramp: RampPlan | None = None
    gates: Annotated[tuple[Gate, ...], Meta(max_length=GATES_MAX)] = ()
    rollback: Rollback = Rollback()
    evidence: Evidence = Evidence()
    progress: Progress = Progress()
    """Written by the ramp's ticks and commands only."""

    def __post_init__(self) -> None:
        """Refuse samples drawn with one salt: a holdout with the split's would hold out exactly the first treated."""
        if self.holdout_salt == self.split_salt:
            raise ValueError("holdout.salt must differ from salt, else the held-out are the first to be treated")
        if self.shadow_salt in {self.split_salt, self.holdout_salt}:
            raise ValueError("shadow.salt must differ from salt and holdout.salt, else the samples depend on the arm")
        wanted = [each.feature for each in self.prerequisites]
        if self.feature in wanted:
            raise ValueError("prerequisites: a feature can't be its own prerequisite")
        if len(set(wanted)) < len(wanted):
            raise ValueError("prerequisites name a feature twice")

    @property
    def split_salt(self) -> str:
        """Salt in force for the split: the flag's own, else its name."""
        return self.salt or self.feature

    @property
    def holdout_salt(self) -> str:
        """Salt in force for the holdout."""
        return self.holdout.salt or f"{self.feature}:holdout"

    @property
    def shadow_salt(self) -> str:
        """Salt in force for the shadow sample."""
        return self.shadow.salt or f"{self.feature}:shadow"

    @property
    def in_operation(self) -> bool:
        """Tell whether the flag may give anybody its candidate."""
        return self.state is State.ENABLED and not self.kill.on


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What one request gets.

    `upstream` is the name of the arm's upstream ("" when the feature is unknown). `bucket` is the split's bucket
    (-1 when none was drawn), also for a held-out subject, so a log line suffices to replay the split.
    """

    feature: str
    arm: Arm
    upstream: str
    reason: Reason
    bucket: int
    unit_kind: UnitKind | None
    revision: int
    share_millipct: int
    hash_version: int = 0
    """Version that drew the bucket; 0 for an unknown feature."""
    unit_digest: int = 0
    """What evidence knows the unit by (`core.unit_digest`); 0 where none is gathered."""


class CompiledFeature(NamedTuple):
    """A flag with its decision function, made once per document version."""

    flag: FeatureFlag
    decide: Callable[[Subject], Decision]
    fault: Decision
    """What a subject gets when deciding fails."""
    is_shadowed: Callable[[str], bool] | None = None
    """Whether a unit is in the shadow sample; None when there is none."""
    reads_attributes: bool = False
    """Whether a decision needs the subject's attributes; where it doesn't, nobody has to look for them."""


class Snapshot(NamedTuple):
    """Everything a request needs; swapped as one reference. `version` is the store's, NOT_LOADED before the first."""

    version: int
    features: Mapping[str, CompiledFeature]


EMPTY_SNAPSHOT = Snapshot(NOT_LOADED, {})
