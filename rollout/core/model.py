"""Frozen values of the rollout engine: the flag, the subject, the decision, the snapshot."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

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


class Subject(NamedTuple):
    """Who asks, a field per UnitKind. An absent part is None; an empty one counts as absent."""

    conversation: str | None = None
    user: str | None = None
    tenant: str | None = None
    request: str | None = None


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
    holdout: Holdout = Holdout()
    kill: Kill = Kill()

    def __post_init__(self) -> None:
        """Refuse a holdout drawn with the split's salt: it would hold out exactly the first treated subjects."""
        if self.holdout_salt == self.split_salt:
            raise ValueError("holdout.salt must differ from salt, else the held-out are the first to be treated")

    @property
    def split_salt(self) -> str:
        """Salt in force for the split: the flag's own, else its name."""
        return self.salt or self.feature

    @property
    def holdout_salt(self) -> str:
        """Salt in force for the holdout."""
        return self.holdout.salt or f"{self.feature}:holdout"


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


class CompiledFeature(NamedTuple):
    """A flag with its decision function, made once per document version."""

    flag: FeatureFlag
    decide: Callable[[Subject], Decision]
    fault: Decision
    """What a subject gets when deciding fails."""


class Snapshot(NamedTuple):
    """Everything a request needs; swapped as one reference. `version` is the store's, NOT_LOADED before the first."""

    version: int
    features: Mapping[str, CompiledFeature]


EMPTY_SNAPSHOT = Snapshot(NOT_LOADED, {})
