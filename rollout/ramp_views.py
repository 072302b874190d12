"""The shapes of requests on ramps and early access, as OpenAPI shows them."""

from typing import Annotated

from pydantic import Field, StrictInt

from rollout.core.ramp_model import STEPS_MAX
from rollout.views import Because

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
