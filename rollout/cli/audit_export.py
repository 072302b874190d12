"""The audit log as JSON lines, oldest first: to keep elsewhere, and to replay."""

from collections.abc import AsyncIterator, Iterable, Iterator

import msgspec

from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_stored
from rollout.ports import FlagStore

_PAGE = 500


async def export_lines(store: FlagStore, since_id: int = 0, *, page: int = _PAGE) -> AsyncIterator[bytes]:
    """Give each entry with an id above since_id as one line, its newline included; ends with the newest."""
    while entries := await store.audit(since_id, page):
        for entry in entries:
            yield msgspec.json.encode(entry) + b"\n"
        since_id = entries[-1].id


def import_lines(lines: Iterable[bytes]) -> Iterator[AuditEntry]:
    """Read what `export_lines` gave; InvalidDocument for a damaged line."""
    return (decode_stored(line, AuditEntry) for line in lines if line.strip())
