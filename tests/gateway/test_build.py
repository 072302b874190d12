import gateway.exchange
from gateway.build import build_info, form, is_compiled
from gateway.metrics import Metrics


def test_the_form_is_that_of_the_exchange() -> None:
    assert is_compiled() == (not gateway.exchange.__file__.endswith(".py"))
    assert form() == ("compiled" if is_compiled() else "interpreted")


def test_the_gauge_names_version_and_form() -> None:
    metrics = Metrics()
    metrics.add_source(build_info)
    (sample,) = next(each for each in metrics.collect() if each.name == "glidepath_build_info").samples
    assert sample.value == 1.0
    assert sample.labels["compiled"] == str(is_compiled()).lower()
    assert sample.labels["version"]
