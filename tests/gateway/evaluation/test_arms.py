from __future__ import annotations

import pytest

from gateway.evaluation.arms import arms_of_feature, directly, through_gateway
from gateway.settings import Settings, SettingsError
from rollout.core.cost import Gpus, token_price

SETTINGS = Settings.model_validate(
    {
        "server": {"host": "::", "port": 8099},
        "upstreams": {
            "inhouse": {
                "kind": "vllm",
                "base_urls": ["http://vllm:8000/v1"],
                "model": "moe",
                "price": {"gpus": 8, "gpu_usd_per_hour": 2.5},
            },
            "partner": {
                "kind": "openai",
                "base_urls": ["https://partner.example/v1"],
                "model": "gpt",
                "price": {"input_usd": 2.5, "output_usd": 10},
            },
            "other": {"kind": "anthropic", "base_urls": ["https://other.example"], "model": "claude"},
        },
        "features": {"draft": {"candidate": "inhouse", "baseline": "partner"}},
    }
)


def test_a_feature_names_both() -> None:
    assert arms_of_feature(SETTINGS, "draft") == ("inhouse", "partner")


@pytest.mark.parametrize(("feature", "hint"), [("drafts", "'draft'"), ("zzzz", "known: draft")])
def test_an_unknown_feature_is_told_so(feature: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=feature) as fault:
        arms_of_feature(SETTINGS, feature)
    assert hint in fault.value.hint


def test_through_the_gateway_by_the_name_of_the_model() -> None:
    arm = through_gateway(SETTINGS, "partner", "baseline", None, "gp-key")
    assert arm == ("baseline", "partner", "http://[::1]:8099/v1", "gpt", "gp-key", token_price(2.5, 10), Gpus())
    elsewhere = through_gateway(SETTINGS, "inhouse", "candidate", "https://gateway.example/v1", None)
    assert (elsewhere.base_url, elsewhere.price) == ("https://gateway.example/v1", None)
    assert elsewhere.gpus == directly(SETTINGS, "inhouse", "candidate", {}).gpus == Gpus(8, 2_500_000)


def test_directly_with_its_own_key() -> None:
    arm = directly(SETTINGS, "partner", "baseline", {"partner": "sk-x"})
    assert (arm.base_url, arm.api_key) == ("https://partner.example/v1", "sk-x")
    with pytest.raises(SettingsError, match="anthropic"):
        directly(SETTINGS, "other", "baseline", {})
    with pytest.raises(SettingsError, match="nobody"):
        directly(SETTINGS, "nobody", "baseline", {})
