import gateway.exchange
from gateway.build import build_info, form, is_compiled


def test_the_form_is_that_of_the_exchange() -> None:
    assert is_compiled() == (not gateway.exchange.__file__.endswith(".py"))
    assert form() == ("compiled" if is_compiled() else "interpreted")


def test_the_gauge_names_version_and_form() -> None:
    (family,) = build_info()
    (sample,) = family.samples
    assert (sample.name, sample.value) == ("glidepath_build_info", 1.0)
    assert sample.labels["compiled"] == str(is_compiled()).lower()
    assert sample.labels["version"]
