import pytest

from gateway.core.admission.answers import is_final, ratelimit_lines, refused
from gateway.core.admission.gate import EXHAUSTED, TOO_LARGE, UNCONFIRMED, Admission, Holder, Refusal, Subject
from gateway.core.admission.limits import Limits
from gateway.core.errors import RETRY_AFTER_MAX_S

NOW_S = 1_800_000_000.0


def refusal(quantity: str, cause: str = EXHAUSTED, *, limit: int = 600, wait_s: int = 12) -> Refusal:
    return Refusal("tenant", "acme", quantity, limit, 900, cause, wait_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantity", "code", "kind", "said"),
    [
        (
            "requests",
            "rate_limit_exceeded",
            "rate_limit_error",
            "600 requests per minute: all used up. Try again in 12 s.",
        ),
        ("tokens", "rate_limit_exceeded", "rate_limit_error", "600 tokens per minute: all used up. Try again in 12 s."),
        (
            "budget",
            "insufficient_quota",
            "insufficient_quota",
            "a budget of $0.0006 per day (UTC): it is spent, or reserved by requests under way, until midnight UTC.",
        ),
        (
            "concurrent",
            "too_many_concurrent_requests",
            "rate_limit_error",
            "600 requests at a time: all in use. Try again in 12 s.",
        ),
    ],
)
def test_a_refusal_names_the_limit(quantity: str, code: str, kind: str, said: str) -> None:
    error = refused(refusal(quantity))
    assert (error.status, error.code, error.type, error.retry_after_s) == (429, code, kind, 12)
    assert error.message == f"The tenant `acme` has {said}"


def test_nobody_is_told_to_wait_for_hours() -> None:
    assert refused(refusal("budget", wait_s=40_000)).retry_after_s == RETRY_AFTER_MAX_S


@pytest.mark.parametrize("quantity", ["requests", "tokens", "budget"])
def test_a_limit_not_yet_asked_for_is_not_called_spent(quantity: str) -> None:
    error = refused(refusal(quantity, UNCONFIRMED, wait_s=1))
    assert (error.code, error.type, error.retry_after_s) == ("rate_limit_exceeded", "rate_limit_error", 1)
    assert "used up" not in error.message


def test_a_request_larger_than_the_limit_is_told_so() -> None:
    error = refused(refusal("tokens", TOO_LARGE))
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert "this request alone may take 900" in error.message
    assert refused(refusal("budget", TOO_LARGE)).code == "insufficient_quota"
    assert is_final(refusal("tokens", TOO_LARGE))
    assert not is_final(refusal("tokens"))


@pytest.mark.parametrize(
    ("microusd", "shown"), [(1, "$0.000001"), (250_000, "$0.25"), (2_500_000, "$2.50"), (10_000_000, "$10")]
)
def test_budgets_are_shown_in_dollars(microusd: int, shown: str) -> None:
    assert f"budget of {shown} per day" in refused(refusal("budget", limit=microusd)).message


def subject(key: Limits, tenant: Limits) -> Subject:
    admission = Admission()
    admission.replace([Holder("k", "t", key)], lambda _: tenant)
    made = admission.subjects["k"]
    for meter in made.meters:
        meter.roll(NOW_S)
    return made


def fields(lines: bytes) -> dict[str, str]:
    return dict(line.split(": ") for line in lines.decode().split("\r\n") if line)


def test_lines_are_those_of_the_tighter_limit() -> None:
    limited = subject(Limits(requests_per_minute=60), Limits(requests_per_minute=500, tokens_per_minute=9_000))
    key, tenant, tokens = limited.meters
    key.used, tenant.used, tokens.used = 10, 470, 9_000
    now_s = tenant.until_s - 11.5
    key.until_s = now_s + 60
    assert fields(ratelimit_lines(limited, now_s)) == {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "30",
        "x-ratelimit-reset-requests": "12s",
        "x-ratelimit-limit-tokens": "9000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "12s",
    }
    key.used = 59
    shown = fields(ratelimit_lines(limited, now_s))
    assert shown["x-ratelimit-remaining-requests"] == "1"
    assert shown["x-ratelimit-reset-requests"] == "1m0s"


@pytest.mark.parametrize("limits", [Limits(concurrent_max=3), Limits(budget_microusd_per_day=3)])
def test_what_is_no_rate_has_no_lines(limits: Limits) -> None:
    assert ratelimit_lines(subject(limits, Limits()), NOW_S) == b""


def test_lines_of_tokens_come_alone_too() -> None:
    assert list(fields(ratelimit_lines(subject(Limits(tokens_per_minute=5), Limits()), NOW_S))) == [
        f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")
    ]


def test_a_window_that_is_over_is_not_shown() -> None:
    limited = subject(Limits(requests_per_minute=60), Limits(requests_per_minute=70))
    for meter in limited.meters:
        meter.used = meter.limit
    assert fields(ratelimit_lines(limited, NOW_S))["x-ratelimit-remaining-requests"] == "0"
    later = fields(ratelimit_lines(limited, NOW_S + 61))
    assert later["x-ratelimit-remaining-requests"] == "60"
