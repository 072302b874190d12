"""The whole configuration as frozen values."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.core.errors import nearest
from gateway.settings.automation import ControllerSettings, PrometheusSettings, WebhookSettings
from gateway.settings.judges import JudgeSettings
from gateway.settings.spool import SpoolSettings
from gateway.settings.upstreams import UpstreamSettings
from gateway.settings.values import Count, Dollars, Name, Port, Rate, Ratio, Seconds, SecondsOrNone, Section, Text


class ServerSettings(Section):
    """The public port. Limits are per worker."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    body_max_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 10 * 1024 * 1024
    connections_max: Count = 20_000
    requests_max: Count = 16_384
    queue_max: Annotated[int, Field(ge=0, le=1_000_000)] = 1_024
    queue_wait_s: Seconds = 2
    head_timeout_s: Seconds = 10
    body_idle_timeout_s: Seconds = 30
    keep_alive_s: Seconds = 75
    drain_grace_s: SecondsOrNone = 0
    drain_s: Seconds = 30
    memory_max_mb: Annotated[int, Field(ge=128, le=1 << 20)] | None = None


class AdminSettings(Section):
    """The operator's port: API and metrics."""

    host: Text = "127.0.0.1"
    port: Port = 8081


class StoreSettings(Section):
    """Where flags, audit and keys live."""

    url: Text = "sqlite:///glidepath-data/glidepath.db"
    state_dir: Text = "glidepath-data"


class ObservabilitySettings(Section):
    """What is written of each request besides metrics: nothing of its content."""

    access_log: Text | None = None
    otlp_endpoint: Text | None = None
    trace_ratio: Ratio = 0.01


class ChecksSettings(Section):
    """Free checks of answers: how many in 100 000 are looked at.

    `every_feature`: also of features whose flag has no gate on `form`.
    """

    sample_millipct: Annotated[int, Field(ge=0, le=100_000)] = 10_000
    every_feature: bool = False


class TenantSettings(Section):
    """What all keys of one tenant may use together. Absent limits don't limit."""

    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent_max: Count | None = None
    budget_usd_per_day: Dollars | None = None
    regions: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    keep_texts: bool | None = None
    """Whether flags may have its texts kept; by default unless it has regions: nobody says where this gateway is."""
    priority: Literal["interactive", "batch"] | None = None


class FeatureSettings(Section):
    """One feature, called as model "copilot/<name>"."""

    candidate: Name
    baseline: Name


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    store: StoreSettings = StoreSettings()
    controller: ControllerSettings = ControllerSettings()
    prometheus: PrometheusSettings | None = None
    webhooks: dict[Name, WebhookSettings] = Field(default_factory=dict)
    observability: ObservabilitySettings = ObservabilitySettings()
    checks: ChecksSettings = ChecksSettings()
    spool: SpoolSettings = SpoolSettings()
    tenant_defaults: TenantSettings = TenantSettings()
    tenants: dict[Name, TenantSettings] = Field(default_factory=dict)
    upstreams: dict[Name, UpstreamSettings] = Field(default_factory=dict)
    judges: dict[Name, JudgeSettings] = Field(default_factory=dict)
    features: dict[Name, FeatureSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _features_name_upstreams(self) -> Self:
        for name, feature in self.features.items():
            for role in ("candidate", "baseline"):
                upstream = getattr(feature, role)
                if upstream not in self.upstreams:
                    near = nearest(upstream, self.upstreams, count=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(
                        f"features.{name}.{role} names the upstream {upstream!r}, which is not there{hint}"
                    )
            if feature.candidate == feature.baseline:
                raise ValueError(f"features.{name}: candidate and baseline are both {feature.baseline!r}")
        return self

    @model_validator(mode="after")
    def _models_are_told_apart(self) -> Self:
        by_model: dict[str, str] = {}
        for name, upstream in self.upstreams.items():
            other = by_model.setdefault(upstream.model, name)
            if other != name:
                raise ValueError(
                    f"upstreams.{other} and upstreams.{name} have the same model {upstream.model!r}: "
                    "give one upstream both base_urls"
                )
        return self

    @model_validator(mode="after")
    def _regions_exist(self) -> Self:
        known = {upstream.region for upstream in self.upstreams.values()}
        named = [(f"tenants.{name}", tenant) for name, tenant in self.tenants.items()]
        for place, tenant in (("tenant_defaults", self.tenant_defaults), *named):
            for region in tenant.regions or ():
                if region not in known:
                    raise ValueError(f"{place}.regions names {region!r}, the region of no upstream")
        return self
