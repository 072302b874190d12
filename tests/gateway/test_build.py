import gateway.exchange
from gateway.build import form, is_compiled


def test_the_form_is_that_of_the_exchange() -> None:
    assert is_compiled() == (not gateway.exchange.__file__.endswith(".py"))
    assert form() == ("compiled" if is_compiled() else "interpreted")
