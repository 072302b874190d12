"""Rules of a request's head that need no socket."""

import pytest

from gateway.http import head
from gateway.http.limits import CallerLimits

LIMITS = CallerLimits(headers_max=3, head_max_bytes=40, url_max_bytes=10)
FIELDS = {b"host": b"h"}


def _refusal(url=b"/", version="1.1", fields=FIELDS, repeated=()) -> tuple[int, str | None] | None:
    error = head.refusal(url, version, fields, repeated, LIMITS)
    return None if error is None else (error.status, error.code)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({}, None),
        ({"version": "1.0", "fields": {}}, None),
        ({"fields": {}}, (400, "bad_http")),
        ({"version": "0.9"}, (505, "bad_http")),
        ({"version": "2.0"}, (505, "bad_http")),
        ({"url": b"/" * 10}, None),
        ({"url": b"/" * 11}, (414, "url_too_long")),
        ({"repeated": [(b"x", b"y")] * 2}, None),
        ({"repeated": [(b"x", b"y")] * 3}, (431, "head_too_large")),
        ({"fields": {**FIELDS, b"x": b"y" * 33}}, None),
        ({"fields": {**FIELDS, b"x": b"y" * 34}}, (431, "head_too_large")),
        ({"repeated": [(b"x", b"y" * 34)]}, (431, "head_too_large")),
        ({"repeated": [(b"host", b"h")]}, (400, "bad_http")),
        ({"repeated": [(b"x-stainless-any", b"h")]}, (400, "bad_http")),
        ({"fields": {**FIELDS, b"transfer-encoding": b"Chunked"}}, None),
        ({"fields": {**FIELDS, b"transfer-encoding": b"x"}}, (400, "bad_http")),
        ({"version": "1.0", "fields": {**FIELDS, b"transfer-encoding": b"chunked"}}, (400, "bad_http")),
    ],
)
def test_refusal(arguments: dict, refusal: tuple[int, str] | None) -> None:
    assert _refusal(**arguments) == refusal


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        (b"/a?b", b"h", b"/a?b"),
        (b"/a", None, b"/a"),
        (b"//a", b"h", b"//a"),
        (b"http://h/a?b#c", b"h", None),
        (b"http://h/a?b", b"h", b"/a?b"),
        (b"HTTPS://H:1/", b"h:1", b"/"),
        (b"http://h", b"h", None),
        (b"http://h/a", None, None),
        (b"http://u@h/a", b"h", None),
        (b"ftp://h/a", b"h", None),
        (b"*", b"h", None),
        (b"h:80", b"h:80", None),
        (b"", b"h", None),
    ],
)
def test_origin_form(url: bytes, host: bytes | None, target: bytes | None) -> None:
    assert head.origin_form(url, host) == target


def test_joined() -> None:
    assert head.joined({b"a": b"1", b"b": b"2"}, [(b"a", b"3"), (b"a", b"4")]) == {b"a": b"1, 3, 4", b"b": b"2"}


def test_errors_name_their_limits() -> None:
    assert "40" in head.head_too_large(LIMITS).message
    assert (head.body_too_large(7).status, "7" in head.body_too_large(7).message) == (413, True)
    assert head.encoded_body().status == 415
