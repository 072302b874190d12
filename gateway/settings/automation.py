"""`[controller]`, `[prometheus]`, `[webhooks.NAME]`: what moves shares by itself, by what, and who is told."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.settings.values import Port, Seconds, Section, Text


class ControllerSettings(Section):
    """The automation. Of all processes that have one, one acts, by a lease in the store."""

    enabled: bool = True
    """In gateways; `glidepath controller` is one whatever this says."""
    every_s: Seconds = 1
    lease_s: Seconds = 10
    host: Text = "127.0.0.1"
    port: Port = 8082
    """Metrics and health of a controller that runs alone (`glidepath controller`)."""

    @model_validator(mode="after")
    def _leases_outlive_turns(self) -> Self:
        if self.lease_s < 3 * self.every_s:
            raise ValueError("lease_s must be at least three times every_s, or the lease is lost between two turns")
        return self


class PrometheusSettings(Section):
    """Where gates with a `query` are read. Files are read for each query, so that a new secret is in force at once."""

    url: Text
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10
    bearer_file: Text | None = None
    basic_file: Text | None = None
    ca_file: Text | None = None


class WebhookSettings(Section):
    """Who is told of changes. `kinds`: as in "rollout.roll_back"; absent for all."""

    url: Text
    secret_file: Text
    kinds: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
