"""`[spool]`: how much of the texts that flags want kept, and what is redacted besides the usual."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from gateway.core.extra_patterns import finder_of
from gateway.settings.values import Section

PATTERNS_MAX = 50
_Kind = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$")]


class SpoolSettings(Section):
    """`size_max_mb`: of one replica, for all features together. `patterns`: by what a finding is called."""

    size_max_mb: Annotated[int, Field(ge=1, le=1 << 20)] = 512
    patterns: Annotated[dict[_Kind, str], Field(max_length=PATTERNS_MAX)] = Field(default_factory=dict)

    @field_validator("patterns")
    @classmethod
    def _usable(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            try:
                finder_of(name, pattern)
            except ValueError as fault:
                raise ValueError(f"{name}: {fault}") from None
        return patterns
