import pytest

from gateway.settings import SettingsError, UpstreamSettings, parse

MINIMAL = {"kind": "vllm", "base_urls": ["http://127.0.0.1:8000/v1"], "model": "a"}


def test_defaults() -> None:
    upstream = UpstreamSettings.model_validate(MINIMAL)
    assert (upstream.health, upstream.tls.ca_file, upstream.proxy_url) == (None, None, None)
    assert (upstream.retry.enabled, upstream.breaker.consecutive_failures) == (True, 5)


@pytest.mark.parametrize(
    ("extra", "cause"),
    [
        ({"tls": {"key_file": "k"}}, "key_file needs cert_file"),
        ({"proxy_url": "http://me:pw@proxy:1"}, "is not a proxy"),
        ({"proxy_url": "https://proxy:1"}, "is not a proxy"),
        ({"health": {"path": "health"}}, "health.path"),
        ({"breaker": {"failure_ratio": 0}}, "breaker.failure_ratio"),
        ({"retry": {"budget_ratio": 2}}, "retry.budget_ratio"),
        ({"price": {"input_usd": -1}}, "price.input_usd"),
        ({"price": {"gpu_usd_per_hour": -1}}, "price.gpu_usd_per_hour"),
        ({"price": {"gpus": 1.5, "gpu_usd_per_hour": 2}}, "price.gpus"),
        ({"price": {"gpus": 8}}, "gpus and gpu_usd_per_hour go together"),
        ({"price": {"gpu_usd_per_hour": 2.5}}, "gpus and gpu_usd_per_hour go together"),
        ({"price": {"gpu_usd": 2.5}}, "price.gpu_usd"),
        ({"kind": "antropic"}, "kind"),
    ],
)
def test_what_cannot_be_used_is_refused(extra: dict, cause: str) -> None:
    with pytest.raises(SettingsError, match=cause):
        parse({"upstreams": {"u": MINIMAL | extra}}, source="f")
