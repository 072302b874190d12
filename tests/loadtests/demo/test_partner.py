import pytest

from loadtests.demo.errors import PartnerSettingsError
from loadtests.demo.partner import choose_partner

SIMULATOR = "http://127.0.0.1:9000/v1"


def test_nothing_set_means_the_simulator_and_no_warning() -> None:
    partner = choose_partner({"GLIDEPATH_PARTNER_BASE_URL": "https://x.example/v1", "OPENAI_API_KEY": " "}, SIMULATOR)
    assert (partner.simulated, partner.base_url, partner.model) == (True, SIMULATOR, "simulated-partner")
    assert partner.key_variable is None
    assert partner.warning is None
    assert partner.price is not None


def test_a_key_alone_means_the_real_partner_and_a_loud_warning() -> None:
    partner = choose_partner({"OPENAI_API_KEY": "sk-secret"}, SIMULATOR)
    assert (partner.simulated, partner.base_url) == (False, "https://api.openai.com/v1")
    assert partner.key_variable == "OPENAI_API_KEY"
    assert partner.warning is not None
    assert "COST MONEY" in partner.warning
    assert partner.model in partner.warning
    assert "sk-secret" not in partner.warning
    assert partner.price is not None


def test_model_and_base_url_are_taken() -> None:
    environment = {
        "OPENAI_API_KEY": "k",
        "GLIDEPATH_PARTNER_MODEL": "m-1",
        "GLIDEPATH_PARTNER_BASE_URL": "https://partner.example/v1",
    }
    partner = choose_partner(environment, SIMULATOR)
    assert (partner.base_url, partner.model) == ("https://partner.example/v1", "m-1")
    assert partner.price is None


def test_a_model_at_a_base_url_needs_no_key() -> None:
    environment = {"GLIDEPATH_PARTNER_MODEL": "m", "GLIDEPATH_PARTNER_BASE_URL": "http://127.0.0.1:1/v1"}
    partner = choose_partner(environment, SIMULATOR)
    assert (partner.simulated, partner.key_variable) == (False, None)


def test_a_model_alone_leads_nowhere() -> None:
    with pytest.raises(PartnerSettingsError, match="neither OPENAI_API_KEY nor") as caught:
        choose_partner({"GLIDEPATH_PARTNER_MODEL": "m"}, SIMULATOR)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["partner.example/v1", "ftp://partner.example", "http://"])
def test_a_base_url_must_be_one(url: str) -> None:
    with pytest.raises(PartnerSettingsError, match="no base URL"):
        choose_partner({"OPENAI_API_KEY": "k", "GLIDEPATH_PARTNER_BASE_URL": url}, SIMULATOR)
