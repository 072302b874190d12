from gateway.pricing import pricing, pricing_of
from gateway.settings import UpstreamSettings
from gateway.settings.sections import Settings
from gateway.settings.upstreams import PriceSettings
from rollout.core.cost import Gpus, Pricing, TokenPrice


def upstream(**price: float) -> UpstreamSettings:
    urls = ("http://127.0.0.1:9/v1",)
    return UpstreamSettings(kind="openai", base_urls=urls, model="m", price=PriceSettings.model_validate(price))


def test_dollars_become_whole_picodollars_of_a_token() -> None:
    found = pricing(Settings(upstreams={"partner": upstream(input_usd=2.5, output_usd=10)}))
    assert found == {"partner": Pricing(TokenPrice(2_500_000, 10_000_000))}
    assert found["partner"].known


def test_gpus_are_paid_by_the_hour() -> None:
    found = pricing_of(upstream(gpus=8, gpu_usd_per_hour=2.5))
    assert found == Pricing(gpus=Gpus(8, 2_500_000))
    assert found.known


def test_what_has_no_price_is_known_to_have_none() -> None:
    assert not pricing_of(upstream()).known
