"""API keys as records, and the rules by which they are made, replaced and revoked. Never a key itself.

A client (tenant and name) has at most two live keys, so that it can change over; revoking is final; the operators
cannot lock themselves out unless they say so.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument, KeyRefused, UnknownKey

KEY_PREFIX = "gp-"
ALL_FEATURES = "*"
DAY_S = 86_400.0
OVERLAP_S = DAY_S
"""How long a replaced key goes on, unless told otherwise."""
OVERLAP_MAX_S = 30 * DAY_S
LIFETIME_MIN_S = 60.0
LIFETIME_MAX_S = 3_650 * DAY_S
CLIENT_LIVE_MAX = 2
LIVE_MAX = 10_000
DEAD_KEPT_S = 90 * DAY_S
"""Records of dead keys are dropped after this time; the audit log keeps what happened."""
ADMIN_LASTING_S = OVERLAP_MAX_S + DAY_S
"""An admin key counts against a lock-out if it lasts this long: longer than any that was replaced and is on its way
out; or if it lasts as long as the one that ends."""
ADMIN_OVERLAP_MIN_S = 600.0
RESTORED_AT_ONCE = 500
_ID_DIGITS = 12
_DIGEST_BYTES = 32

Role = Literal["viewer", "operator", "approver", "admin", "voter"]
"""A voter sees kept texts, and nothing else, to say which answer is better."""
ROLES: tuple[Role, ...] = get_args(Role)
Priority = Literal["interactive", "batch"]
# \Z and not $, which lets a line feed pass.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
FeatureName = Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})\Z")]
Limit = Annotated[int, Meta(ge=1, le=10**15)]
"""Below 2**53, which every store counts exactly."""


class KeyScope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a key may do and how much. A limit of None is no limit of the key's own.

    `features` lists feature names or is ("*",); `budget_microusd_per_day` is in millionths of a US dollar.
    """

    features: Annotated[tuple[FeatureName, ...], Meta(min_length=1, max_length=1_000)] = (ALL_FEATURES,)
    roles: Annotated[tuple[Role, ...], Meta(max_length=len(ROLES))] = ()
    model_bypass: bool = False
    priority: Priority = "interactive"
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrent_max: Limit | None = None
    budget_microusd_per_day: Limit | None = None


class KeyRecord(KeyScope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An API key as stored: its digest (BLAKE2b-256, hex), never the key. Times are Unix seconds.

    `last_used_at_s` is kept apart by the stores, exact to a minute or so. Fields at their default are not written, so
    that a program from before they were there can still read the record.
    """

    id: str
    digest: str
    name: Name
    tenant: Name
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    last_used_at_s: float | None = None

    @property
    def client(self) -> str:
        """Whose key it is, as shown: tenant/name."""
        return f"{self.tenant}/{self.name}"

    def is_live(self, now_s: float) -> bool:
        """Whether the key opens anything."""
        return self.revoked_at_s is None and (self.expires_at_s is None or self.expires_at_s > now_s)


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of keys in the audit log; `id` is the store's version after it (0 until stored).

    `details` holds what was set, without the digest.
    """

    id: int = 0
    at_s: float
    actor: str
    command: str
    reason: str
    key_id: str
    client: str
    details: dict[str, Any] = {}


class KeyChange(NamedTuple):
    """A step for the store: records to write, dead ones to drop, and the entry that tells of it."""

    written: tuple[KeyRecord, ...]
    dropped: tuple[str, ...]
    entry: KeyEntry


class Because(NamedTuple):
    """Who changes keys, why and when (Unix seconds)."""

    actor: str
    reason: str
    at_s: float


def digest(key: str) -> str:
    """What is stored of a key: BLAKE2b-256, hex."""
    return blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def key_id(key_digest: str) -> str:
    """The public name of a key."""
    return f"key_{key_digest[:_ID_DIGITS]}"


def create(
    records: Sequence[KeyRecord],
    client: tuple[str, str],
    scope: KeyScope,
    key_digest: str,
    because: Because,
    *,
    expires_in_s: float | None = None,
) -> KeyChange:
    """Make a key for `client` (tenant, name); KeyRefused when it has two, InvalidArgument for a name that is none."""
    now_s = because.at_s
    record = KeyRecord(
        **{field: getattr(scope, field) for field in KeyScope.__struct_fields__},
        id=key_id(key_digest),
        digest=key_digest,
        tenant=client[0],
        name=client[1],
        created_at_s=now_s,
        expires_at_s=None if expires_in_s is None else now_s + _lifetime(expires_in_s),
    )
    _check_fields(record)
    _check_room(records, record, now_s)
    return KeyChange((record,), _forgotten(records, now_s), _entry("create", record, because, _details(record)))


def rotate(
    records: Sequence[KeyRecord],
    key: str,
    key_digest: str,
    because: Because,
    *,
    overlap_s: float = OVERLAP_S,
    expires_in_s: float | None = None,
    force: bool = False,
) -> KeyChange:
    """Make a second key like `key` (an id), which then expires after the overlap.

    `expires_in_s` None: the new one lives as long as the old one was meant to when last changed, or for ever.
    """
    now_s, old = because.at_s, find(records, key)
    if not 0 <= overlap_s <= OVERLAP_MAX_S:
        raise InvalidArgument(f"an overlap of {overlap_s:g} s can't be meant", f"use 0 to {OVERLAP_MAX_S:g} s")
    if not old.is_live(now_s):
        raise KeyRefused(f"{old.id} ({old.client}) is {status(old, now_s)}", "create a new key instead")
    if expires_in_s is None and old.expires_at_s is not None:
        expires_in_s = min(max(old.expires_at_s - old.created_at_s, LIFETIME_MIN_S), LIFETIME_MAX_S)
    new = replace(
        old,
        id=key_id(key_digest),
        digest=key_digest,
        created_at_s=now_s,
        expires_at_s=None if expires_in_s is None else now_s + _lifetime(expires_in_s),
        last_used_at_s=None,
    )
    _check_room(records, new, now_s)
    ends_at_s = min(now_s + overlap_s, float("inf") if old.expires_at_s is None else old.expires_at_s)
    ending = replace(old, expires_at_s=ends_at_s)
    if not force:
        _refuse_hasty_handover(records, old, now_s, overlap_s)
        _refuse_lockout([*records, new], ending, now_s)
    details = _details(new) | {"replaces": old.id, "old_expires_at_s": ends_at_s}
    return KeyChange((new, ending), _forgotten(records, now_s), _entry("rotate", new, because, details))


def revoke(records: Sequence[KeyRecord], key: str, because: Because, *, force: bool = False) -> KeyChange | None:
    """End a key now and for good; None when it is revoked already. KeyRefused for the last live admin key."""
    old = find(records, key)
    if old.revoked_at_s is not None:
        return None
    revoked = replace(old, revoked_at_s=because.at_s)
    if not force:
        _refuse_lockout(records, revoked, because.at_s)
    entry = _entry("revoke", revoked, because, {"revoked_at_s": because.at_s, "force": force})
    return KeyChange((revoked,), (), entry)


def restore(records: Sequence[KeyRecord], known: Iterable[KeyRecord], because: Because) -> KeyChange | None:
    """Write back keys that were known before the store lost data, and their revocations; None when none is missing.

    At most RESTORED_AT_ONCE of them: ask again until None. What the store holds besides stays.
    """
    here = {record.id: record for record in records}
    missing = [each for each in known if each.id not in here or _is_unrevoked(here[each.id], each)]
    if not missing:
        return None
    written = tuple(missing[:RESTORED_AT_ONCE])
    told = {"keys": [record.id for record in written]}
    entry = KeyEntry(
        at_s=because.at_s,
        actor=because.actor,
        command="restore",
        reason=because.reason,
        key_id="*",
        client="*",
        details=told,
    )
    return KeyChange(written, (), entry)


def first_entry(record: KeyRecord) -> KeyEntry:
    """Describe the key that an empty store begins with."""
    because = Because("gateway", "the store held no key", record.created_at_s)
    return _entry("create", record, because, _details(record))


def find(records: Iterable[KeyRecord], key: str) -> KeyRecord:
    """The record of that id. UnknownKey; InvalidArgument, without repeating it, for a key where its id is meant."""
    if key.startswith(KEY_PREFIX):
        hint = "ids begin with key_, see `glidepath keys list`; consider the key as leaked if others saw this command"
        raise InvalidArgument("that is a key itself, not its id", hint)
    known = {record.id: record for record in records}
    if key not in known:
        raise UnknownKey(key, known)
    return known[key]


def status(record: KeyRecord, now_s: float) -> Literal["live", "expired", "revoked"]:
    """The state of a key in one word."""
    if record.revoked_at_s is not None:
        return "revoked"
    return "live" if record.is_live(now_s) else "expired"


def _is_unrevoked(here: KeyRecord, known: KeyRecord) -> bool:
    return here.revoked_at_s is None and known.revoked_at_s is not None


def _check_fields(record: KeyRecord) -> None:
    """What can't be read back must not be written."""
    try:
        msgspec.convert(msgspec.to_builtins(record), KeyRecord)
    except msgspec.ValidationError as fault:
        hint = "names are letters, digits, '.', '_' and '-', at most 64; limits are whole numbers from 1"
        raise InvalidArgument(f"such a key can't be made: {fault}", hint) from fault


def _check_room(records: Sequence[KeyRecord], new: KeyRecord, now_s: float) -> None:
    live = [record for record in records if record.is_live(now_s)]
    own = [record.id for record in live if record.client == new.client]
    if len(own) >= CLIENT_LIVE_MAX:
        cause = f"{new.client} has {len(own)} live keys already: {', '.join(own)}"
        raise KeyRefused(cause, "revoke one, or wait until it expires: see `glidepath keys list`")
    if len(live) >= LIVE_MAX:
        raise KeyRefused(f"there are {len(live)} live keys already", "revoke those that are no longer used")
    if any(record.id == new.id for record in records):
        raise KeyRefused(f"the id {new.id} is taken", "try again; the next key gets another one")


def _refuse_lockout(records: Sequence[KeyRecord], changed: KeyRecord, now_s: float) -> None:
    """Refuse to end an admin key when no other one lasts."""
    own_end_s = max((_ends_s(record) for record in records if record.id == changed.id), default=now_s)
    if not _opens_admin(changed) or own_end_s <= now_s:
        return
    then_s = min(own_end_s, now_s + ADMIN_LASTING_S)
    others = (record for record in records if record.id != changed.id and _opens_admin(record))
    if not any(_ends_s(other) >= then_s for other in others):
        days = f"{ADMIN_LASTING_S / DAY_S:g} days"
        cause = f"{changed.id} ({changed.client}) is the last admin key that goes on for {days}, or as long as it does"
        raise KeyRefused(cause, "create another admin key first, or repeat with --force")


def _refuse_hasty_handover(records: Sequence[KeyRecord], old: KeyRecord, now_s: float, overlap_s: float) -> None:
    """Refuse to end the last admin key before anybody can have tried the new one: it may be lost on its way."""
    if overlap_s >= ADMIN_OVERLAP_MIN_S:
        return
    try:
        _refuse_lockout(records, old, now_s)
    except KeyRefused as fault:
        hint = f"use an overlap of {ADMIN_OVERLAP_MIN_S:g} s or more, or repeat with --force"
        raise KeyRefused(f"{fault.cause}, and its successor is untried", hint) from None


def _opens_admin(record: KeyRecord) -> bool:
    return "admin" in record.roles


def _forgotten(records: Iterable[KeyRecord], now_s: float) -> tuple[str, ...]:
    return tuple(record.id for record in records if _ends_s(record) < now_s - DEAD_KEPT_S)


def _ends_s(record: KeyRecord) -> float:
    ends = (end for end in (record.expires_at_s, record.revoked_at_s) if end is not None)
    return min(ends, default=float("inf"))


def _lifetime(expires_in_s: float) -> float:
    if not LIFETIME_MIN_S <= expires_in_s <= LIFETIME_MAX_S:
        cause = f"a key that expires in {expires_in_s:g} s can't be meant"
        raise InvalidArgument(cause, f"use {LIFETIME_MIN_S:g} to {LIFETIME_MAX_S:g} s, or none for no end")
    return expires_in_s


def _details(record: KeyRecord) -> dict[str, Any]:
    """All that isn't at its default; never the digest."""
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return {name: value for name, value in told.items() if name not in {"id", "digest", "name", "tenant"}}


def _entry(command: str, record: KeyRecord, because: Because, details: dict[str, Any]) -> KeyEntry:
    return KeyEntry(
        at_s=because.at_s,
        actor=because.actor,
        command=command,
        reason=because.reason,
        key_id=record.id,
        client=record.client,
        details=details,
    )
