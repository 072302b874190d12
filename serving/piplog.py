"""Reads pip's output: what it is busy with, in words for a person who waits."""

from __future__ import annotations

import re

_COLLECTING = re.compile(r"^\s*(?:Collecting|Requirement already satisfied:)\s")
_FETCHING = re.compile(
    r"^\s*(?:Downloading|Processing)\s+(?:\S*/)?([A-Za-z0-9_.]+)-(\S+?)-\S+\.whl.*?(?:\(([\d.]+) ([kMG]B)\))?\s*$"
)
_UNPACKING = re.compile(r"^Installing collected packages:\s*(.*)")
_BIG_MB = 50.0


class PipProgress:
    """Fed line by line; `doing` is always a true sentence about the present."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self._collected = 0

    def feed(self, line: str) -> str:
        """Take one line; give a sentence when it opens a new phase, else nothing."""
        if _COLLECTING.match(line):
            self._collected += 1
            self.doing = f"collecting packages ({self._collected})"
            return self.doing if self._collected == 1 else ""
        if fetching := _FETCHING.match(line):
            name, version, size, unit = fetching.groups()
            if size and float(size) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[unit] >= _BIG_MB:
                self.doing = f"downloading {name} {version} ({size} {unit})"
                return self.doing
            return ""
        if unpacking := _UNPACKING.match(line):
            self.doing = f"unpacking {unpacking[1].count(',') + 1} packages"
            return self.doing
        return ""


def torch_not_found(log: str) -> bool:
    """Whether pip failed only because its indexes have no CPU build of torch."""
    return bool(re.search(r"No matching distribution found for torch==\S+\+cpu", log))
