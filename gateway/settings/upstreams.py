"""`[upstreams.NAME]`: one model behind one or more base URLs, and how the gateway treats it."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from gateway.settings.values import Count, Dollars, Name, Ratio, Seconds, SecondsOrNone, Section, Text


class BreakerSettings(Section):
    """When an endpoint gets no more requests, per worker; callers' errors never count."""

    consecutive_failures: Count = 5
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    window_s: Seconds = 10
    requests_min: Count = 20
    ejected_s: Seconds = 1
    ejected_max_s: Seconds = 30


class RetrySettings(Section):
    """The one extra attempt the gateway may make before the first byte."""

    enabled: bool = True
    wait_max_s: SecondsOrNone = 5
    budget_ratio: Ratio = 0.2


class HealthSettings(Section):
    """Asking an endpoint whether it lives; without a path only its answers tell."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=256)]
    interval_s: Seconds = 5
    timeout_s: Seconds = 2
    unhealthy_after: Count = 2


class TlsSettings(Section):
    """Files of a private certificate authority and of the gateway's own certificate."""

    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None

    @model_validator(mode="after")
    def _key_with_certificate(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self


class PriceSettings(Section):
    """US dollars per million tokens, and per hour of each GPU that the model runs on, all its replicas together."""

    input_usd: Dollars = 0
    output_usd: Dollars = 0
    gpus: Annotated[int, Field(ge=0, le=65_536)] = 0
    gpu_usd_per_hour: Annotated[float, Field(ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _gpus_with_their_price(self) -> Self:
        if bool(self.gpus) != bool(self.gpu_usd_per_hour):
            raise ValueError("gpus and gpu_usd_per_hour go together")
        return self


class UpstreamSettings(Section):
    """One model behind one or more base URLs."""

    kind: Literal["vllm", "openai", "azure", "anthropic"]
    base_urls: Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
    model: Text
    api_key_env: str | None = None
    region: Name | None = None
    connect_timeout_s: Seconds = 2
    queue_timeout_s: Seconds = 10
    first_byte_timeout_s: Seconds = 60
    idle_timeout_s: Seconds = 60
    total_timeout_s: Seconds = 600
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = 512
    waiting_max: Count = 4_096
    answer_max_bytes: Annotated[int, Field(ge=1_024, le=1 << 32)] = 64 * 1024 * 1024
    affinity: bool = True
    proxy_url: str | None = None
    proxy_credentials_env: str | None = None
    tls: TlsSettings = TlsSettings()
    health: HealthSettings | None = None
    breaker: BreakerSettings = BreakerSettings()
    retry: RetrySettings = RetrySettings()
    price: PriceSettings = PriceSettings()

    @field_validator("base_urls")
    @classmethod
    def _usable_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not is_base_url(url):
                raise ValueError(f"{url!r} is not a base URL such as http://127.0.0.1:8000/v1")
        return urls

    @field_validator("proxy_url")
    @classmethod
    def _usable_proxy(cls, url: str | None) -> str | None:
        return checked_proxy(url)


def checked_proxy(url: str | None) -> str | None:
    """`url`, or ValueError if it is no proxy."""
    if url is not None and not (is_base_url(url) and urlsplit(url).scheme == "http"):
        raise ValueError(f"{url!r} is not a proxy such as http://proxy.example:3128 (credentials: from the env)")
    return url


def is_base_url(url: str) -> bool:
    """Whether it can be called as it stands: plain ASCII, a host that resolvers take, a port, no query or user."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
    except ValueError:
        return False
    return bool(
        parts.scheme in {"http", "https"}
        and host
        and port != 0
        and not (parts.query or parts.fragment or parts.username)
    )
