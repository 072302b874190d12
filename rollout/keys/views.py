"""The shapes of the key API's requests and answers, as OpenAPI shows them. Times are Unix seconds."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from rollout.api.views import Reason
from rollout.core import keys
from rollout.core.keys import KeyEntry, KeyRecord, KeyScope, Priority, Role
from rollout.keys.operations import Made

Limit = Annotated[StrictInt | None, Field(ge=1, le=10**15)]
Name = Annotated[str, Field(max_length=64, description="letters, digits, '.', '_' and '-'")]
Lifetime = Annotated[float | None, Field(allow_inf_nan=False, description="seconds; null for no end")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason


class KeyOrder(_Request):
    """A key to make. Limits of null are no limits of the key's own."""

    name: Name
    tenant: Name = "default"
    features: Annotated[list[str], Field(min_length=1, max_length=1_000)] = [keys.ALL_FEATURES]
    roles: Annotated[list[Role], Field(max_length=len(keys.ROLES))] = []
    model_bypass: StrictBool = False
    priority: Priority = "interactive"
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    concurrent_max: Limit = None
    budget_microusd_per_day: Limit = None
    expires_in_s: Lifetime = None

    def scope(self) -> KeyScope:
        """What the key is to open."""
        given = {name: getattr(self, name) for name in KeyScope.__struct_fields__}
        return KeyScope(**given | {"features": tuple(self.features), "roles": tuple(self.roles)})


class Rotation(_Request):
    """A successor to make. `expires_in_s` null: it lives as long as the key was meant to."""

    overlap_s: Annotated[float, Field(allow_inf_nan=False)] = keys.OVERLAP_S
    expires_in_s: Lifetime = None
    force: StrictBool = False


class Revocation(_Request):
    """A key to end."""

    force: StrictBool = False


class KeyView(BaseModel):
    """A key, without itself and its digest. `last_used_at_s` is exact to a minute or so."""

    id: str
    tenant: str
    name: str
    status: Literal["live", "expired", "revoked"]
    features: list[str]
    roles: list[str]
    model_bypass: bool
    priority: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_max: int | None
    budget_microusd_per_day: int | None
    created_at_s: float
    expires_at_s: float | None
    revoked_at_s: float | None
    last_used_at_s: float | None


class KeyList(BaseModel):
    """Keys, oldest first."""

    keys: list[KeyView]


class MadeKey(BaseModel):
    """A new key, shown this once; `replaced` is the one it follows, with its new end."""

    key: str
    record: KeyView
    replaced: KeyView | None


class KeyEntryView(BaseModel):
    """One entry of the keys' audit log; `details` holds what was set."""

    id: int
    at_s: float
    actor: str
    command: str
    reason: str
    key_id: str
    client: str
    details: dict[str, Any]


class KeyHistory(BaseModel):
    """Entries, newest first; `before` fetches the next page, null at the end."""

    entries: list[KeyEntryView]
    before: int | None


def key_view(record: KeyRecord, now_s: float) -> KeyView:
    """Show a key."""
    shown = {name: getattr(record, name) for name in KeyView.model_fields if name != "status"}
    return KeyView(**shown, status=keys.status(record, now_s))


def made_key(made: Made, now_s: float) -> MadeKey:
    """Show a new key."""
    replaced = None if made.replaced is None else key_view(made.replaced, now_s)
    return MadeKey(key=made.key, record=key_view(made.record, now_s), replaced=replaced)


def key_history(entries: list[KeyEntry], limit: int) -> KeyHistory:
    """Show one page of at most `limit` entries."""
    shown = [KeyEntryView(**msgspec.to_builtins(entry)) for entry in entries]
    return KeyHistory(entries=shown, before=shown[-1].id if len(shown) == limit else None)
