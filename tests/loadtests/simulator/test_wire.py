from loadtests.simulator.wire import WireError, error_object


def test_an_error_always_has_all_four_keys() -> None:
    assert set(error_object("m", "t", None, None)["error"]) == {"message", "type", "param", "code"}


def test_a_refusal_carries_what_any_vendors_shape_needs() -> None:
    error = WireError(429, "slow down", kind="requests", param="p", code="c", headers=(("retry-after", "1"),))
    assert (str(error), error.status, error.kind, error.param, error.code) == ("slow down", 429, "requests", "p", "c")
    assert error.headers == (("retry-after", "1"),)
