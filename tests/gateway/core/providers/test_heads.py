import pytest

from gateway.core.providers.heads import base_path, credentials_lines, passed_lines

DEFAULT = b"anthropic-version: 2023-06-01\r\n"


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("vllm", "authorization: Bearer k\r\n"),
        ("openai", "authorization: Bearer k\r\n"),
        ("azure", "api-key: k\r\n"),
        ("anthropic", "x-api-key: k\r\n"),
    ],
)
def test_credentials(kind: str, lines: str) -> None:
    assert credentials_lines(kind, "k") == lines
    assert credentials_lines(kind, None) == ""


@pytest.mark.parametrize(
    ("kind", "path", "base"),
    [
        ("vllm", "/v1/", "/v1"),
        ("vllm", "", ""),
        ("azure", "", "/openai/v1"),
        ("azure", "/openai/v1", "/openai/v1"),
        ("anthropic", "/", "/v1"),
        ("anthropic", "/proxy/v1", "/proxy/v1"),
    ],
)
def test_base_path(kind: str, path: str, base: str) -> None:
    assert base_path(kind, path) == base


def test_only_anthropic_hears_of_its_versions() -> None:
    assert passed_lines("messages", "vllm", {b"anthropic-version": b"2023-06-01"}) == b""


def test_native_messages_keep_the_callers_version_and_betas() -> None:
    headers = {b"anthropic-version": b"2024-01-01", b"anthropic-beta": b"a-1, b-2"}
    passed = b"anthropic-version: 2024-01-01\r\nanthropic-beta: a-1, b-2\r\n"
    assert passed_lines("messages", "anthropic", headers) == passed
    assert passed_lines("chat", "anthropic", headers) == DEFAULT


@pytest.mark.parametrize("value", [b"", b"x\r\nevil: 1", b"x" * 513, b"\xff"])
def test_what_is_no_version_is_not_passed_on(value: bytes) -> None:
    headers = {b"anthropic-version": value, b"anthropic-beta": value}
    assert passed_lines("messages", "anthropic", headers) == DEFAULT
