from __future__ import annotations

import pytest

from gateway.core.extra_patterns import finder_of
from gateway.core.redaction import redact


@pytest.mark.parametrize(
    ("pattern", "text", "redacted"),
    [
        ("K-[0-9]{8}", "see K-12345678!", "see [OWN]!"),
        (r"\bACME\d{2,6}\b", "ACME1 ACME123", "ACME1 [OWN]"),
        (r"Fall [A-Z]{1,2}/\d?\d", "Fall AB/7, Fall C/12", "[OWN], [OWN]"),
        (r"[^\]\\a]x\.", "bx. ax.", "[OWN] ax."),
        ("Müller", "Herr Müller", "Herr [OWN]"),
        (r"a\-b\$", "a-b$", "[OWN]"),
    ],
)
def test_patterns_of_the_subset(pattern: str, text: str, redacted: str) -> None:
    assert redact(text, [finder_of("own", pattern)]) == redacted


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("", "1 to 200"),
        ("x" * 201, "1 to 200"),
        ("a+", "not possible"),
        ("(a|b)", "not possible"),
        ("a*b", "not possible"),
        ("^a", "not possible"),
        (r"\1", "not possible"),
        ("a{101}", "100 times at most"),
        ("a{3,2}", "100 times at most"),
        ("[a-z]{1,50}[a-z]{1,50}", "too many ways"),
        ("a?", "nothing"),
        (r"\b", "nothing"),
        ("a{0}", "nothing"),
        ("[z-a]", "no pattern"),
        ("[", "not possible"),
    ],
)
def test_what_could_take_long_or_is_none_is_refused(pattern: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        finder_of("own", pattern)
