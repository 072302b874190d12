"""The shapes of requests on ramps and early access, as OpenAPI shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt

from rollout.api.views import Because
from rollout.core.ramp_model import STEPS_MAX

_Step = Annotated[StrictInt, Field(ge=0, lt=STEPS_MAX, description="counted from 0")]


class Jump(Because):
    """The step to go to; the ramp is paused there."""

    step: _Step


class Approve(Because):
    """The step whose beginning is approved; the next one if none is named."""

    step: _Step | None = None


class Extend(Because):
    """The time to add."""

    by: Annotated[str, Field(max_length=20, description='as "30m", "2h" or "1d"')]


class EarlyAccess(Because):
    """Who wishes for early access: a user of a tenant, or the whole tenant when no user is named."""

    tenant: Annotated[str, Field(min_length=1, max_length=200)]
    user: Annotated[str, Field(max_length=512)] = ""


class EarlyAccessDecision(EarlyAccess):
    """What becomes of the wish; "forget" takes the entry off the list."""

    decision: Literal["approve", "decline", "forget"]


class LossAnswer(BaseModel):
    """Whether a loss of data was accepted, and the version from which the store goes on."""

    accepted: Annotated[bool, Field(description="false: this replica sees no loss, and nothing was done")]
    version: int | None
