from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.redaction import Finder, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to ann.lee+x@example.co.uk.", "write to [EMAIL]."),
        ("<jürgen@müller.de>, o'neil@x.org", "<[EMAIL]>, [EMAIL]"),
        ("a@b.de+c@d.de", "[EMAIL]"),
        ("call +49 (170) 123 45-67 now", "call [PHONE] now"),
        ("call 0170 1234567 or 030/123456", "call [PHONE] or [PHONE]"),
        ("(555) 123-4567, 555.123.4567", "[PHONE], [PHONE]"),
        ("SSN 078-05-1120", "SSN [NUMBER]"),
        ("DE89 3704 0044 0532 0130 00 THANKS", "[IBAN] THANKS"),
        ("gb82west12345698765432", "[IBAN]"),
        ("card 4111 1111 1111 1111 to 12/27", "card [CARD] to 12/27"),
        ("12 4111-1111-1111-1111 5500005555555559", "12 [CARD] [CARD]"),
        ("customer 1234567890123456", "customer [NUMBER]"),
        ("id K123456789x", "id K[NUMBER]x"),
        ("from 192.168.0.17:8080, 2001:db8::1:2.", "from [IP]:8080, [IP]."),
        ("ssh fe80:1:2::3%eth0", "ssh [IP]%eth0"),
        ("https://bob:hunter2@host/x", "https://[CREDENTIALS]@host/x"),
        ("https://ghs@host.example/x", "https://[CREDENTIALS]@host.example/x"),
        ("Authorization: Bearer abc.def-123_456~x", "Authorization: Bearer [KEY]"),
        ("key sk-proj-abcdefghij0123456789, AKIAIOSFODNN7EXAMPLE", "key [KEY], [KEY]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[KEY]"),
        ("gp-abcdefghijklmnopqrstuv", "[KEY]"),
        (JWT, "[KEY]"),
        (PEM, "[KEY]"),
        ("?api_key=abc123def&x=1", "?api_key=[KEY]&x=1"),
        ('{"password": "hunter22"}', '{"password": "[KEY]"}'),
    ],
)
def test_what_is_found(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "On 2024-10-05 at 12:30:45 we met 14 times; 01-02-2024 too, 05/06/2024.",
        "0.333333333333 of 12345678, 1,000,000 and 3.14159265358979",
        "std::vector<Abc::Def> a::b ::",
        "password: required",
        "task-force-management-and-more, risk-adjusted-returns-are",
        "@property user@localhost a@ @b",
        "version 1.2.3, 10.5.1 and 256.1.1.1",
        "1 2 3 4 5 6 7 8 9 10 11 12 13",
        "AB12 this is plain text that is long",
        "[EMAIL] wrote to [PHONE]",
        "ffff:ffff",
        "deadbeef.",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_more_patterns_are_looked_for_first() -> None:
    more = [Finder("CUSTOMER", re.compile(r"K-[0-9]{9}"))]
    assert redact("K-123456789 and 123456789", more) == "[CUSTOMER] and [NUMBER]"
    assert redact("[CUSTOMER]123456789", more) == "[CUSTOMER][NUMBER]"


def test_text_that_gives_up_something_in_every_round_is_taken_out_whole() -> None:
    """Each x that goes lets the next one stand at the beginning."""
    more = [Finder("X", re.compile(r"^x"))]
    redacted = redact("x" * 20 + " and the rest", more)
    assert redacted == "[X]" * 6 + "[REDACTED]"
    assert redact(redacted, more) == redacted


_PIECES = st.sampled_from(
    ["@", ".", "-", "+", " ", "(", ")", "[", "]", ":", "/", "0", "12", "4111", "1111", "ab", "e", "sk-", "eyJ", "://",
     "x.de", "DE89", "token", "=", "1234567890123456", "[EMAIL]", "[KEY]", "0170", "10.0.0.1", "Bearer ", "\n", "ü",
     "'", "REDACTED"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map("".join) | st.text(max_size=100))
@example("4111111111111111.10.0.0.1")
@example("123456789eyJabcde.abcdef")
@example("a[EMAIL]@b.de")
def test_twice_is_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(st.lists(_PIECES, max_size=10).map("".join), st.lists(_PIECES, max_size=10).map("".join))
def test_an_address_between_spaces_is_found_whatever_is_around_it(before: str, after: str) -> None:
    assert "ann.lee@example.org" not in redact(f"{before} ann.lee@example.org {after}")


UNITS = [
    "a", "1", "1 ", "1-", "a@", "@", "a.", "a@a.", "://", "://a", "eyJ", "eyJa.", "eyJabcdef.", "sk-", "sk-a",
    "Bearer ", "token", "token=", "token: ", "+1", "+1 ", "(0", "01 ", "0-0", "AB12", "AB12 ", "a1 ", ":", "::", "f:",
    "1.", "1.1.1.1.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "[", "[EMAIL]", "123-45-", "111 111 ", "%", "'",
    "1/1 ", "4111 1111 1111 1111 ", "\n",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_what_repeats_itself_takes_no_longer(unit: str) -> None:
    """Of a pattern that goes back this test would not come to an end."""
    text = unit * (60_000 // len(unit)) + "!"
    once = redact(text)
    assert redact(once) == once
