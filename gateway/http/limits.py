"""What one caller may take of a worker: sizes, counts and times of a connection."""

from __future__ import annotations

from typing import NamedTuple


class CallerLimits(NamedTuple):
    """Limits of the public port; `Reception` takes one for all connections of a worker."""

    connections_max: int = 16_384
    """Open connections; the next one gets 503 and is closed."""
    head_timeout_s: float = 10.0
    """From the first byte of a request's head to its last."""
    body_idle_s: float = 30.0
    """Longest pause within a body."""
    body_rate_min_bytes_s: float = 500.0
    """A body may take `body_idle_s` plus its size over this rate."""
    send_idle_s: float = 60.0
    """A caller that takes nothing of what waits for it is cut off after so long."""
    linger_s: float = 1.0
    """After a refusal: how long bytes still on their way are read and dropped, so that the answer arrives."""
    headers_max: int = 100
    head_max_bytes: int = 65_536
    url_max_bytes: int = 8_192
    pipeline_max: int = 32
    """Requests that may wait behind the one being answered; the next one is refused in its turn."""
    pipeline_max_bytes: int = 1_048_576
    """Bodies of those requests together."""
    write_buffer_max_bytes: int = 262_144
    """Unsent bytes of an answer beyond which its producer is paused."""
