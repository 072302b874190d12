import pytest
from pydantic import ValidationError

from gateway.settings.spool import SpoolSettings


def test_patterns_are_checked_when_read() -> None:
    assert SpoolSettings(patterns={"customer": "K-[0-9]{8}"}).size_max_mb == 512
    with pytest.raises(ValidationError, match=r"customer: .*not possible"):
        SpoolSettings(patterns={"customer": "(a+)+"})


@pytest.mark.parametrize(
    "wrong", [{"size_max_mb": 0}, {"patterns": {"a b": "x"}}, {"patterns": {f"p{n}": "x" for n in range(51)}}, {"x": 1}]
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SpoolSettings(**wrong)
