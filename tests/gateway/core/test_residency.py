import pytest

from gateway.core.residency import out_of_reach, reachable

REGIONS = {"inhouse": "eu", "partner": "us", "second": "eu", "nowhere": None}


@pytest.mark.parametrize(
    ("regions", "names"),
    [
        (None, None),
        (("eu",), {"inhouse", "second"}),
        (("eu", "us"), {"inhouse", "second", "partner"}),
        (("asia",), set()),
        ((), set()),
    ],
)
def test_a_tenant_reaches_what_is_in_its_regions(regions: tuple[str, ...] | None, names: set[str] | None) -> None:
    assert reachable(regions, REGIONS) == names


def test_a_refusal_names_the_model_and_no_upstream() -> None:
    error = out_of_reach("copilot/" + "x" * 500)
    assert (error.status, error.code, error.param) == (403, "residency", "model")
    assert len(error.message) < 300
    assert not any(name in error.message for name in REGIONS)
