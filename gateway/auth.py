"""API keys: hashed at rest, looked up by digest in a table that is swapped whole."""

from __future__ import annotations

import logging
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.credentials import presented
from gateway.core.errors import invalid_key
from gateway.core.routing import Principal
from rollout.core.keys import ALL_FEATURES, KEY_PREFIX, ROLES, KeyRecord, digest, key_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_log = logging.getLogger(__name__)

_DIGEST_BYTES = 32


class _Entry(NamedTuple):
    principal: Principal
    expires_at_s: float


class Keyring:
    """The keys in force. A key has 256 bits of randomness, so one fast hash is enough: there is nothing to guess.

    Nothing presented is remembered. A memo of presented keys would save the digest, 0.9 us of a request's 70, and keep
    the keys of all callers in clear in one place for as long as the process lives; and it would have to be emptied in
    time when a key is revoked. So a key that left the table is unknown from the next request on.
    """

    def __init__(self) -> None:
        self._by_digest: Mapping[bytes, _Entry] = {}
        self._uses: dict[str, float] = {}

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

    def find(self, headers: Mapping[bytes, bytes], now_s: float) -> Principal:
        """Whoever sent these headers (names in lower case); notes the use. Raises `ApiError` 401. `now_s`: Unix time.

        The key may be in any header that `credentials.presented` knows; two that disagree are no key. The digest of a
        presented key is looked up, never the key compared: what timing tells is about a hash.
        """
        key = presented(headers)
        if key is None:
            raise invalid_key()
        entry = self._by_digest.get(blake2b(key, digest_size=_DIGEST_BYTES).digest())
        if entry is None or entry.expires_at_s <= now_s:
            raise invalid_key()
        principal = entry.principal
        self._uses[principal.key_id] = now_s
        return principal

    def take_uses(self) -> dict[str, float]:
        """When each key (by id) was used last since this was asked before, Unix seconds."""
        uses, self._uses = self._uses, {}
        return uses

    def __len__(self) -> int:
        return len(self._by_digest)


def new_key() -> str:
    """Make a key: 256 random bits, recognisable by scanners through its prefix."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def first_key_record(key: str, now_s: float, *, name: str) -> KeyRecord:
    """Record of the key an empty store begins with: all features, all roles."""
    return KeyRecord(
        id=key_id(digest(key)),
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
        priority=record.priority,
        requests_per_minute=record.requests_per_minute,
        tokens_per_minute=record.tokens_per_minute,
        concurrent_max=record.concurrent_max,
        budget_microusd_per_day=record.budget_microusd_per_day,
    )
