"""Kinds of values that settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_PORT_MAX = 65_535
Name = Annotated[str, Field(pattern=_NAME)]
Text = Annotated[str, Field(min_length=1, max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Port = Annotated[int, Field(ge=0, le=_PORT_MAX)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
SecondsOrNone = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[int, Field(ge=1, le=10**12)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Dollars = Annotated[float, Field(ge=0, le=10**9)]


class SettingsError(Exception):
    """The configuration can't be used. `cause`: one line; `hint`: what to do."""

    exit_code = 2

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class Section(BaseModel):
    """One table of the file: nothing unknown in it, nothing changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
