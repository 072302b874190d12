"""Records of recent requests by tenant and request id, bounded in number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gateway.core.outcome import Record

Key = tuple[str, str]
"""Tenant and request id."""


class Recent:
    """The newest Records: `records_max` of them, or as few as half of that.

    Two generations: when the young one is full, the old one is dropped whole. (Deleting the oldest entry of one large
    dict each time costs a scan over its gaps.)
    """

    def __init__(self, records_max: int) -> None:
        self._generation_max = max(1, records_max // 2)
        self._young: dict[Key, Record] = {}
        self._old: dict[Key, Record] = {}
        self._tenants: set[str] = set()
        self.complete_since_s = 0.0
        """Nothing that was settled later (Unix time) has been forgotten; 0 while nothing has."""
        self._received_until_s = 0.0

    def add(self, record: Record) -> Collection[Key]:
        """Remember a request; whom it made forget: nobody, or the oldest half when there are too many."""
        forgotten: Collection[Key] = ()
        if len(self._young) >= self._generation_max:
            if self._old:
                self.complete_since_s = max(next(iter(self._young.values())).at_s, self._received_until_s)
            forgotten = self._old
            self._old, self._young = self._young, {}
        self._young[record.tenant, record.request_id] = record
        self._tenants.add(record.tenant)
        return forgotten

    def get(self, key: Key) -> Record | None:
        """Give one request, if it is known."""
        return self._young.get(key) or self._old.get(key)

    def find(self, request_id: str) -> list[Record]:
        """Give the requests of that id, at most one of each tenant."""
        found = (self.get((tenant, request_id)) for tenant in self._tenants)
        return [record for record in found if record is not None]

    def give_away(self, count: int) -> Iterator[tuple[Record, ...]]:
        """Hand over all, the young first, `count` at a time; nothing is left here."""
        while len(self):
            source = self._young or self._old
            keys = [key for key, _ in zip(source, range(count), strict=False)]
            yield tuple(source.pop(key) for key in keys)

    def receive(self, record: Record) -> bool:
        """Take over what another one gave away, as older than everything here; what comes last doesn't fit.

        False for what is not taken.
        """
        key = (record.tenant, record.request_id)
        if key in self._young or key in self._old:
            return False
        if len(self._old) >= self._generation_max:
            self.complete_since_s = max(self.complete_since_s, record.at_s)
            return False
        self._old[key] = record
        self._received_until_s = max(self._received_until_s, record.at_s)
        self._tenants.add(record.tenant)
        return True

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
