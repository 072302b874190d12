"""The TLS side of an upstream: which authority is trusted, and the certificate the gateway shows."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from gateway.settings.upstreams import TlsSettings


def client_context(settings: TlsSettings, place: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, names checked. `place`: where the settings are, for errors. Raises `SettingsError`.

    With a `ca_file` only that authority is trusted, else the system's.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise _unusable(f"{place}.ca_file", settings.ca_file, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.cert_file is None:
        return context
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except OSError as error:
        raise _unusable(f"{place}.cert_file", settings.cert_file, error) from None
    except _EncryptedError:
        hint = "decrypt it; protect the file by its permissions"
        raise SettingsError(f"{place}: the private key is encrypted", hint) from None
    return context


class _EncryptedError(Exception):
    """A key that asks for a password, which nobody is there to type."""


def _no_password() -> str:
    raise _EncryptedError


def _unusable(place: str, path: str | None, error: OSError) -> SettingsError:
    why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return SettingsError(f"{place}: cannot use {path}: {why}", "check the file and its permissions: PEM is expected")
