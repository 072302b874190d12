from gateway.core.admission.limits import Limits, Price
from gateway.settings.judges import JudgeSettings
from gateway.settings.sections import Settings, TenantSettings
from gateway.settings.upstreams import PriceSettings, UpstreamSettings
from gateway.tenants import UNLISTED, Tenants, prices


def upstream(model: str, region: str | None, price: PriceSettings) -> UpstreamSettings:
    return UpstreamSettings(
        kind="openai", base_urls=("http://127.0.0.1:9/v1",), model=model, region=region, price=price
    )


SETTINGS = Settings(
    upstreams={
        "inhouse": upstream("moe", "eu", PriceSettings()),
        "partner": upstream("gpt", "us", PriceSettings(input_usd=2.5, output_usd=10)),
    },
    judges={
        name: JudgeSettings(url="http://127.0.0.1:9/v1", model="judge", region=region)
        for name, region in (("near", "eu"), ("far", "us"), ("anywhere", None))
    },
    tenant_defaults=TenantSettings(requests_per_minute=60),
    tenants={
        "acme": TenantSettings(
            tokens_per_minute=9_000, concurrent_max=4, budget_usd_per_day=12.5, regions=("eu",), priority="batch"
        )
    },
)


def test_a_listed_tenant_has_its_own_terms_alone() -> None:
    terms = Tenants(SETTINGS).of("acme")
    assert terms.limits == Limits(None, 9_000, 4, 12_500_000)
    assert (terms.reach, terms.priority, terms.label) == (frozenset({"inhouse"}), "batch", "acme")
    assert terms.judges == frozenset({"near"})


def test_others_have_the_defaults_under_one_label() -> None:
    tenants = Tenants(SETTINGS)
    assert tenants.of("whoever") == tenants.of("another")
    assert tenants.limits_of("whoever") == Limits(60)
    terms = tenants.of("whoever")
    assert (terms.reach, terms.priority, terms.label) == (None, None, UNLISTED)
    assert terms.judges is None


def test_texts_are_kept_unless_a_tenant_says_no_or_is_bound_to_regions() -> None:
    tenants = {
        "plain": TenantSettings(),
        "no": TenantSettings(keep_texts=False),
        "bound": TenantSettings(regions=("eu",)),
        "bound-yes": TenantSettings(regions=("eu",), keep_texts=True),
    }
    terms = Tenants(SETTINGS.model_copy(update={"tenants": tenants}))
    assert [terms.of(name).keeps for name in tenants] == [True, False, False, True]


def test_prices_are_per_token() -> None:
    assert prices(SETTINGS) == {"inhouse": Price(), "partner": Price(2.5, 10.0)}
