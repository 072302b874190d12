"""`glidepath.toml` and environment as one frozen `Settings`."""

from gateway.settings.file import judge_keys, judge_proxy, load, parse, proxy_credentials, upstream_keys
from gateway.settings.sections import Settings, TenantSettings
from gateway.settings.upstreams import UpstreamSettings
from gateway.settings.values import SettingsError

__all__ = [
    "Settings",
    "SettingsError",
    "TenantSettings",
    "UpstreamSettings",
    "judge_keys",
    "judge_proxy",
    "load",
    "parse",
    "proxy_credentials",
    "upstream_keys",
]
