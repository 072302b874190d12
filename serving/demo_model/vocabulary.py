"""Closed lists the tasks draw from: novelty lies in combinations and numbers, never in new words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LISTS: Final[dict[str, tuple[str, ...]]] = {
    "name": (
        *("Maria", "Omar", "Lena", "Victor", "Priya", "Jonas", "Aiko", "Samuel", "Clara", "Mateo", "Ingrid", "Tariq"),
        *("Sofia", "Daniel", "Yara", "Felix", "Nadia", "Bruno", "Hannah", "Kofi", "Elena", "Marcus", "Leila", "Anton"),
        *("Grace", "Pavel", "Rosa", "Simon", "Amara", "Oscar", "Wanda", "Hugo"),
    ),
    "project": (
        *("Atlas", "Borealis", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Iris", "Juniper", "Kestrel"),
        *("Lumen", "Mosaic", "Nimbus", "Orchid", "Phoenix", "Quartz", "Raven", "Saffron", "Tundra", "Umbra", "Vertex"),
        *("Willow", "Zephyr"),
    ),
    "item": (
        *("budget", "report", "contract", "roadmap", "forecast", "invoice", "proposal", "checklist", "schedule"),
        *("survey", "prototype", "backlog", "manual", "summary", "estimate", "audit", "handbook", "brochure"),
        *("dashboard", "newsletter"),
    ),
    "meeting": (
        *("kickoff", "review", "workshop", "retrospective", "standup", "training", "demo", "interview", "briefing"),
        *("planning", "walkthrough", "handover"),
    ),
    "reason": (
        *("a late supplier", "a full calendar", "missing data", "a failed test", "a staff change", "new rules"),
        *("a power cut", "a bad update", "a lost parcel", "heavy traffic", "an open question", "a broken server"),
    ),
    "goods": (
        *("laptops", "chairs", "monitors", "badges", "desks", "phones", "cables", "tablets", "lamps", "folders"),
        *("headsets", "notebooks"),
    ),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
}

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

NUMBERS: Final[dict[str, Callable[[random.Random], str]]] = {
    "time": lambda rng: f"{rng.randint(8, 18)}:{rng.randrange(0, 60, 5):02d}",
    "date": lambda rng: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
    "count": lambda rng: str(rng.randint(2, 99)),
    "room": lambda rng: str(rng.randint(100, 499)),
    "amount": lambda rng: str(rng.randint(20, 999) * 10),
}


def draw(kinds: list[str], rng: random.Random) -> list[str]:
    """One value per entry of `kinds`, drawn in order; values of the same kind differ from each other."""
    drawn: list[tuple[str, str]] = []
    for kind in kinds:
        value = _value(kind, rng)
        while (kind, value) in drawn:
            value = _value(kind, rng)
        drawn.append((kind, value))
    return [value for _, value in drawn]


def _value(kind: str, rng: random.Random) -> str:
    return NUMBERS[kind](rng) if kind in NUMBERS else rng.choice(LISTS[kind])
