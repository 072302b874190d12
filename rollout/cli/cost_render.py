"""What a ramp costs as a terminal table, and what is saved in words."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rollout.cli.render import empty_table, local_time, plain_cell
from rollout.core.money import shown_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH_MAX = 200
_ROWS = (
    ("requests", "requests"),
    ("accepted", "accepted"),
    ("prompt tokens", "prompt_tokens"),
    ("completion tokens", "completion_tokens"),
    ("price of tokens", "tokens_usd"),
    ("GPU time", "gpu_usd"),
    ("per request", "per_request_usd"),
    ("per accepted answer", "per_accepted_usd"),
    ("per million tokens", "per_million_tokens_usd"),
)


def cost_text(answer: dict[str, Any]) -> str:
    """Show a report of the operator API: lines of any length, which a terminal breaks by itself."""
    arms = answer["candidate"], answer["baseline"]
    table = empty_table(("", "candidate", "baseline"))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("upstream", *(plain_cell(arm["upstream"]) for arm in arms))
    for text, name in _ROWS:
        table.add_row(text, *(plain_cell(_value(arm[name], name)) for arm in arms))
    drawn = StringIO()
    Console(file=drawn, width=_WIDTH_MAX, force_terminal=False).print(table)
    rows = (line.rstrip() for line in drawn.getvalue().splitlines())
    return "\n".join((_title(answer), *rows, *cost_lines(answer)))


def cost_lines(answer: dict[str, Any]) -> Iterator[str]:
    """What is saved, what shadow calls cost, and what to beware of."""
    yield f"saved so far: {_saved(answer['saved'])}"
    yield f"saved if all had gone to the candidate: {_saved(answer['saved_in_full'])}"
    shadows = answer["shadows"]
    if shadows["requests"]:
        yield f"shadow calls, in neither arm: {shadows['requests']} for {shown_usd(shadows['usd'])}"
    for warning in answer["warnings"]:
        yield f"note: {warning}"


def _title(answer: dict[str, Any]) -> str:
    if answer["since_s"] is None:
        return f"cost of {answer['feature']}"
    since, until = (local_time(answer[name]) for name in ("since_s", "until_s"))
    return f"cost of {answer['feature']}, attempt {answer['attempt']}, {since} to {until}"


def _value(value: float | None, name: str) -> str:
    if value is None:
        return "-"
    return shown_usd(value) if name.endswith("_usd") else f"{value:,}"


def _saved(saved: dict[str, Any] | None) -> str:
    if saved is None:
        return "not known before the baseline has had a request"
    text = shown_usd(saved["usd"])
    if saved["lower_usd"] is not None:
        text += f" (95 %: {shown_usd(saved['lower_usd'])} to {shown_usd(saved['upper_usd'])})"
    return text if saved["per_day_usd"] is None else f"{text}, {shown_usd(saved['per_day_usd'])} a day"
