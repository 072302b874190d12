"""Just enough SVG for plots: a drawing is a list of elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS = ("#0b6e99", "#d1495b", "#66a182", "#edae49", "#6a4c93", "#555555", "#2e4057")
_INK, _GRID = "#222222", "#dddddd"


class Axis:
    """Values onto places: linear, or by logarithm."""

    def __init__(self, values: tuple[float, float], places: tuple[float, float], *, log: bool = False) -> None:
        self._values, self._places, self._log = values, places, log

    def at(self, value: float) -> float:
        """The place of a value; those beyond the axis are put on its end."""
        low, high = (math.log(each) if self._log else each for each in self._values)
        on_scale = math.log(max(value, self._values[0])) if self._log else value
        part = min(1.0, max(0.0, (on_scale - low) / (high - low)))
        return round(self._places[0] + part * (self._places[1] - self._places[0]), 1)


def drawing(width: int, height: int, elements: Iterable[str], title: str) -> str:
    """A file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(elements) + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = _INK) -> str:
    """Words on a line; `anchor`: start, middle or end."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def line(start: tuple[float, float], end: tuple[float, float], colour: str = _GRID, *, dashed: bool = False) -> str:
    """A straight line."""
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="{colour}"{dashes}/>'


def dot(x: float, y: float, colour: str, *, hollow: bool = False) -> str:
    """A point; hollow for what is beyond the axis or not reached."""
    return f'<circle cx="{x}" cy="{y}" r="4" fill="{"white" if hollow else colour}" stroke="{colour}"/>'


def polyline(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A path."""
    places = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
