"""API keys: hashed at rest, looked up by digest in a table that is swapped whole."""

from __future__ import annotations

import logging
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import invalid_key
from gateway.core.routing import Principal
from rollout.ports import KeyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_log = logging.getLogger(__name__)

KEY_PREFIX = "gp-"
ALL_FEATURES = "*"
ROLES = ("viewer", "operator", "approver", "admin")
_BEARER = b"bearer "
_DIGEST_BYTES = 32


class _Entry(NamedTuple):
    principal: Principal
    expires_at_s: float


class Keyring:
    """The keys in force. A key has 256 bits of randomness, so one fast hash is enough: there is nothing to guess."""

    def __init__(self) -> None:
        self._by_digest: Mapping[bytes, _Entry] = {}

    def replace(self, records: Iterable[KeyRecord]) -> None:
        """Take over all records; revoked and unusable ones are left out."""
        by_digest: dict[bytes, _Entry] = {}
        for record in records:
            if record.revoked_at_s is not None:
                continue
            try:
                key_digest = bytes.fromhex(record.digest)
            except ValueError:
                _log.warning("the key record %s is damaged and ignored", record.id)
                continue
            expires_at_s = float("inf") if record.expires_at_s is None else record.expires_at_s
            by_digest[key_digest] = _Entry(_principal(record), expires_at_s)
        self._by_digest = by_digest

    def find(self, authorization: bytes | None, now_s: float) -> Principal:
        """Whoever sent `Authorization: Bearer <key>`. Raises `ApiError` 401. `now_s`: Unix time.

        The digest of a presented key is looked up, never the key compared: what timing tells is about a hash.
        """
        if authorization is None or authorization[:7].lower() != _BEARER:
            raise invalid_key()
        entry = self._by_digest.get(blake2b(authorization[7:].strip(), digest_size=_DIGEST_BYTES).digest())
        if entry is None or entry.expires_at_s <= now_s:
            raise invalid_key()
        return entry.principal

    def __len__(self) -> int:
        return len(self._by_digest)


def digest(key: str) -> str:
    """What is stored of a key: BLAKE2b-256, hex."""
    return blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def new_key() -> str:
    """Make a key: 256 random bits, recognisable by scanners through its prefix."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def first_key_record(key: str, now_s: float, *, name: str) -> KeyRecord:
    """Record of the key an empty store begins with: all features, all roles."""
    return KeyRecord(
        id=f"key_{digest(key)[:12]}",
        digest=digest(key),
        name=name,
        tenant="default",
        features=(ALL_FEATURES,),
        roles=ROLES,
        model_bypass=True,
        created_at_s=now_s,
    )


def _principal(record: KeyRecord) -> Principal:
    return Principal(
        key_id=record.id,
        name=record.name,
        tenant=record.tenant,
        features=None if ALL_FEATURES in record.features else frozenset(record.features),
        roles=frozenset(record.roles),
        model_bypass=record.model_bypass,
    )
