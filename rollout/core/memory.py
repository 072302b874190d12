"""What the controller remembers of a feature between its ticks: small, and kept for the revision it was made of."""

from __future__ import annotations

from rollout.core.errors import InvalidArgument

MEMORY_BYTES_MAX = 262_144


def checked(memory: bytes) -> bytes:
    """Return it; InvalidArgument when it is too large."""
    if len(memory) > MEMORY_BYTES_MAX:
        raise InvalidArgument(f"a memory of {len(memory)} bytes is too large", f"at most {MEMORY_BYTES_MAX}")
    return memory
