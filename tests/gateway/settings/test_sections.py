import pytest

from gateway.settings import SettingsError, parse

UPSTREAM = {"kind": "vllm", "base_urls": ["http://127.0.0.1:8000/v1"], "model": "a", "region": "eu"}


def refusal(document: dict) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse(document, source="f")
    return caught.value


def test_a_tenants_region_must_be_that_of_an_upstream() -> None:
    settings = parse({"upstreams": {"u": UPSTREAM}, "tenants": {"t": {"regions": ["eu"]}}}, source="f")
    assert settings.tenants["t"].regions == ("eu",)
    error = refusal({"upstreams": {"u": UPSTREAM}, "tenants": {"t": {"regions": ["mars"]}}})
    assert error.cause == "f: tenants.t.regions names 'mars', the region of no upstream"
    error = refusal({"tenant_defaults": {"regions": ["mars"]}})
    assert "tenant_defaults.regions" in error.cause


def test_two_upstreams_of_one_model_are_refused() -> None:
    """Which one a bypass meant, and whose token count it was, could not be told."""
    error = refusal({"upstreams": {"u": UPSTREAM, "v": UPSTREAM}})
    assert "upstreams.u and upstreams.v have the same model 'a'" in error.cause


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"tenants": {"t": {"requests_per_minut": 1}}}, "did you mean 'requests_per_minute'?"),
        ({"tenant_defaults": {"budget": 1}}, "budget_usd_per_day"),
        ({"upstreams": {"u": UPSTREAM | {"breaker": {"ejected": 1}}}}, "ejected_s"),
        ({"upstreams": {"u": UPSTREAM | {"health": {"path": "/h", "intervall_s": 1}}}}, "did you mean 'interval_s'?"),
        ({"observability": {"acces_log": "x"}}, "did you mean 'access_log'?"),
    ],
)
def test_unknown_keys_are_explained_at_every_depth(document: dict, hint: str) -> None:
    assert hint in refusal(document).hint
