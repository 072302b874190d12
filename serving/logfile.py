"""vLLM's output: all of it in a file that cannot fill the disk, the last lines in memory for the failure message."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

# Longer than any message a person reads; vLLM dumps its whole configuration in one line.
MAX_LINE_CHARS = 8_000


class EngineLog:
    """Two generations of at most half of `max_bytes`: PATH, and PATH.1 with what came before."""

    def __init__(self, path: Path, *, max_bytes: int = 20_000_000, tail_lines: int = 400) -> None:
        self.path = path
        self._half = max_bytes // 2
        self._tail: deque[str] = deque(maxlen=tail_lines)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._size = path.stat().st_size

    def write(self, line: str) -> None:
        """Append one line (without its newline); very long ones are cut."""
        kept = line if len(line) <= MAX_LINE_CHARS else line[:MAX_LINE_CHARS] + " ... cut"
        self._tail.append(kept)
        size = len(kept.encode()) + 1
        if self._size + size > self._half:
            self._turn_over()
        self._file.write(kept + "\n")
        self._size += size

    def forget(self) -> None:
        """Start a new run: its failure is not explained by lines of the one before."""
        self._tail.clear()

    def tail(self, lines: int | None = None) -> tuple[str, ...]:
        """Give the last `lines` of this run (all kept ones by default)."""
        kept = tuple(self._tail)
        return kept if lines is None else kept[-lines:]

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()

    def _turn_over(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._file = self.path.open("w", encoding="utf-8", buffering=1)
        self._size = 0


class LineSplitter:
    """Cuts a byte stream into text lines. A carriage return (progress bars) ends a line too; empty ones vanish."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Give the lines that `data` completes."""
        *whole, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > 4 * MAX_LINE_CHARS:
            whole, self._rest = [*whole, self._rest], b""
        return [text for line in whole if (text := line.decode(errors="replace").rstrip())]

    def end(self) -> list[str]:
        """Give what is left when the stream ends without a newline."""
        return self.feed(b"\n")
