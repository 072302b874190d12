"""A document -> one SVG: requests/s of every subject under every workload on one core, as bars with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from loadtests.bench.subjects import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.bench.results import Document, ThroughputRow

_WIDTH = 760
_LABEL = 130
_BARS = 470
_ROW = 22
_HEAD = 34
_OURS_COLOUR = "#1f6feb"
_OTHERS_COLOUR = "#9aa4b2"
_INK = "#57606a"


def svg(document: Document) -> str:
    """The picture as text; every panel has its own scale."""
    rows = [row for row in document.throughput if row.workers == 1]
    panels = dict.fromkeys((row.workload, row.connections) for row in rows)
    parts: list[str] = []
    top = 8
    for workload, connections in panels:
        mine = [row for row in rows if (row.workload, row.connections) == (workload, connections)]
        parts += _panel(f"{workload}, {connections} connections: requests/s on one core", mine, top)
        top += _HEAD + _ROW * len(mine)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 8}" width="{_WIDTH}" '
        f'height="{top + 8}" font-family="system-ui, sans-serif" font-size="12">'
    )
    background = f'<rect width="{_WIDTH}" height="{top + 8}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"


def _panel(title: str, rows: Sequence[ThroughputRow], top: int) -> list[str]:
    scale = _BARS / max(row.requests_per_s.high for row in rows)
    parts = [f'<text x="8" y="{top + 20}" font-weight="600" fill="{_INK}">{escape(title)}</text>']
    for number, row in enumerate(rows):
        parts += _bar(row, top + _HEAD + _ROW * number, scale)
    return parts


def _bar(row: ThroughputRow, top: int, scale: float) -> list[str]:
    speed = row.requests_per_s
    colour = _OURS_COLOUR if row.subject == OURS else _OTHERS_COLOUR
    low, end, high = (round(_LABEL + value * scale, 1) for value in (speed.low, speed.value, speed.high))
    middle = top + 8
    times = "" if row.times is None else f" ({OURS} {row.times.value:.2f} x)"
    return [
        f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end" fill="{_INK}">{escape(row.subject)}</text>',
        f'<rect x="{_LABEL}" y="{top}" width="{round(end - _LABEL, 1)}" height="16" rx="2" fill="{colour}"/>',
        f'<path d="M{low} {middle}H{high}M{low} {middle - 4}v8M{high} {middle - 4}v8" stroke="{_INK}" fill="none"/>',
        f'<text x="{max(high, end) + 8}" y="{top + 12}" fill="{_INK}">{speed.value:,.0f}{escape(times)}</text>',
    ]
