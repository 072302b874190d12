import pytest

from gateway.settings import SettingsError, parse


def test_a_controller_is_there_by_default_and_nobody_is_told() -> None:
    settings = parse({}, source="f")
    assert (settings.controller.enabled, settings.controller.lease_s) == (True, 10)
    assert (settings.prometheus, settings.webhooks) == (None, {})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"controller": {"every_s": 5}}, "lease_s must be at least three times every_s"),
        ({"controller": {"every": 5}}, "unknown key 'controller.every'"),
        ({"prometheus": {}}, "prometheus.url is missing"),
        ({"prometheus": {"url": "http://p", "timeout_s": 500}}, "prometheus.timeout_s"),
        ({"webhooks": {"oncall": {"url": "https://h"}}}, "webhooks.oncall.secret_file is missing"),
        ({"webhooks": {"oncall": {"url": "https://h", "secret_file": "s", "kinds": []}}}, "webhooks.oncall.kinds"),
    ],
)
def test_what_cannot_be_meant_is_refused(document: dict, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(document, source="f")
    assert told in caught.value.cause
