"""Renders what became of the ramps: rich tables and a line on money (pure)."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtests.demo.course import GateSaid
from loadtests.demo.money import Money
from loadtests.demo.plan import MOVING, PROOFS, percent
from loadtests.demo.summary import Exposure, ProofLine, RampLine


def summary(lines: Sequence[RampLine], proofs: Sequence[ProofLine], money: Money) -> RenderableType:
    """Return the whole summary."""
    return Group(_ramps_table(lines), _proofs_table(proofs), *map(Text, money_lines(money)), Text(""))


def money_lines(money: Money) -> list[str]:
    """Return what a request costs and what was saved."""
    each = " against ".join("-" if usd is None else f"${usd:.6f}" for usd in (money.candidate_usd, money.baseline_usd))
    lines = ["", f"Money: a request of {MOVING} costs {each} at the partner"]
    if money.so_far is not None:
        lines.append(f"  saved so far     {money.so_far}")
    if money.in_full is not None:
        per_day = money.in_full.per_day_usd
        rate = "" if per_day is None else f", ${per_day:.2f} a day at this traffic"
        lines.append(f"  saved at 100 %   {money.in_full}{rate}")
    return [*lines, *(f"  note: {warning}" for warning in money.warnings)]


def _ramps_table(lines: Sequence[RampLine]) -> Table:
    table = _table("Ramps", ("feature", "candidate", "outcome"), ("time", "harmed", "exposed"))
    table.add_column("decided by")
    _add_numbers(table, "e-value", "limit", "effect [interval]")
    for line in lines:
        time = "-" if line.lasted_s is None else f"{line.lasted_s:.1f} s"
        gate = "-" if line.decided is None else line.decided.gate
        cells = (line.feature, line.what, line.outcome, time, *_exposure(line.exposure), gate)
        table.add_row(*cells, *_numbers(line.decided))
    return table


def _exposure(exposure: Exposure) -> tuple[str, str]:
    """Return how many requests were given to the candidate: since it did harm, and in all."""
    harmed = "-" if exposure.harmed is None else str(exposure.harmed)
    return harmed, f"{exposure.candidate} of {exposure.requests}"


def _proofs_table(proofs: Sequence[ProofLine]) -> Table:
    table = _table(f"\nProof that {MOVING} is no worse, step by step", ("to",), ("after",))
    for gate in PROOFS:
        _add_numbers(table, f"{gate}: e-value", "limit", "effect [interval]")
    for line in proofs:
        numbers = (cell for said in line.said for cell in _numbers(said))
        table.add_row(percent(line.share_millipct), f"{line.lasted_s:.1f} s", *numbers)
    return table


def _numbers(said: GateSaid | None) -> tuple[str, str, str]:
    """Return e-value, limit and effect with interval; empty where nothing was said."""
    if said is None:
        return "-", "", ""
    value, limit = ("-" if each is None else f"{each:.3g}" for each in (said.value, said.limit))
    known = said.estimate
    if known is None or known.effect is None:
        return value, limit, ""
    interval = ("?" if each is None else f"{each:+.3f}" for each in (known.lower, known.upper))
    return value, limit, f"{known.effect:+.3f} [{', '.join(interval)}]"


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in texts:
        table.add_column(column)
    _add_numbers(table, *numbers)
    return table


def _add_numbers(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
