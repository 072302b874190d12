"""Takes out of a text what identifies people or opens doors: best effort, no promise.

Found: e-mail addresses, telephone numbers, IBANs, card numbers (Luhn), IP addresses, keys and tokens by their usual
shapes, credentials in URLs, long numbers; not names, places, or anything that only its meaning tells. Each becomes its
kind in brackets.

`redact` twice is `redact` once: what is left between two placeholders is looked at again as a text of its own until
nothing is found in it. Text that gives up something in every round is taken out whole. Each pattern begins where the
one before it ended and repeats without going back, or a bounded number of times, so time is linear in the text.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Spans = Iterable[tuple[int, int]]

ROUNDS = 6
_CARD_DIGITS = range(13, 20)
_CARD_GROUP_MIN, _CARD_GROUPS_MAX = 3, 6
_IBAN_CHARS = range(15, 35)
_IBAN_REST = 1
_GROUPS_MIN = 3
_DATE = re.compile(r"(?:\d{1,2}[-/ ]\d{1,2}[-/ ]\d{4}|\d{4}[-/ ]\d{1,2}[-/ ]\d{1,2})(?!\d)")
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")


class Finder(NamedTuple):
    """What is looked for. `spans`: which parts of a match are meant; without it group 1, else all of it."""

    kind: str
    pattern: re.Pattern[str]
    spans: Callable[[str], Spans] | None = None


def redact(text: str, more: Sequence[Finder] = ()) -> str:
    """The text with `[KIND]` for what was found; `more` is looked for first."""
    finders = (*more, *_FINDERS)
    kinds = {each.kind for each in finders} | {_ALL}
    placeholder = re.compile(rf"(\[(?:{'|'.join(sorted(kinds))})\])")
    parts = placeholder.split(text)
    return "".join(part if place % 2 else _closed(part, finders, ROUNDS) for place, part in enumerate(parts))


def _closed(gap: str, finders: Sequence[Finder], rounds: int) -> str:
    parts = [gap]
    for finder in finders if gap else ():
        parts = [each for n, part in enumerate(parts) for each in ((part,) if n % 2 else _cut(part, finder))]
    if len(parts) == 1:
        return gap
    if not rounds:
        return f"[{_ALL}]"
    return "".join(part if n % 2 else _closed(part, finders, rounds - 1) for n, part in enumerate(parts))


def _cut(text: str, finder: Finder) -> list[str]:
    """Text and placeholders by turns, text first and last."""
    parts, begin = [], 0
    for start, end in _found(text, finder):
        parts += [text[begin:start], f"[{finder.kind}]"]
        begin = end
    return [*parts, text[begin:]]


def _found(text: str, finder: Finder) -> Iterator[tuple[int, int]]:
    for match in finder.pattern.finditer(text):
        if finder.spans is None:
            yield match.span(match.lastindex or 0)
        else:
            yield from ((match.start() + start, match.start() + end) for start, end in finder.spans(match[0]))


def _cards(run: str) -> Iterator[tuple[int, int]]:
    """Groups of digits that make a card's number: 13 to 19 digits whose check digit is right."""
    groups = [match.span() for match in _WORD.finditer(run)]
    first = 0
    while first < len(groups):
        last = _card_end(run, groups, first)
        if last is not None:
            yield groups[first][0], groups[last][1]
            first = last
        first += 1


def _card_end(run: str, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """The last of the groups that make a card's number together with `first`; no group of a card is short."""
    digits = ""
    for number in range(first, min(first + _CARD_GROUPS_MAX, len(groups))):
        start, end = groups[number]
        if end - start < _CARD_GROUP_MIN or len(digits) + end - start >= _CARD_DIGITS.stop:
            return None
        digits += run[start:end]
        if len(digits) in _CARD_DIGITS and _luhn(digits):
            return number
    return None


def _luhn(digits: str) -> bool:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return not (sum(map(int, digits[-1::-2])) + sum(each // 10 + each % 10 for each in doubled)) % 10


def _iban(found: str) -> Iterator[tuple[int, int]]:
    """The longest beginning, whole groups only, whose check digits are right."""
    for match in reversed(list(_WORD.finditer(found))):
        plain = found[: match.end()].replace(" ", "").upper()
        number = int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4]))
        if len(plain) in _IBAN_CHARS and number % 97 == _IBAN_REST:
            yield 0, match.end()
            return


def _ip(run: str) -> Iterator[tuple[int, int]]:
    end = len(run.rstrip(".:"))
    if "." in run and run.count(":") == 1:
        end = run.index(":")  # a port
    address = run[:end]
    named = [group for group in address.split(":") if group]
    if "." not in address and (len(named) < _GROUPS_MIN or not _DIGIT.search(address)):
        return
    try:
        ip_address(address)
    except ValueError:
        return
    yield 0, end


def _phone(found: str) -> Iterator[tuple[int, int]]:
    if not _DATE.match(found):
        yield 0, len(found)


def _secret(found: str) -> Iterator[tuple[int, int]]:
    """What stands behind the name of a secret, if it isn't a word."""
    start = max(found.rfind(sign) for sign in "=:") + 1
    start += len(found[start:]) - len(found[start:].lstrip(" \"'"))
    if _DIGIT.search(found, start):
        yield start, len(found)


_ALL = "REDACTED"
_FINDERS = (
    Finder(
        "KEY",
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s]*+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
        ),
    ),
    Finder("CREDENTIALS", re.compile(r"://([^\s/@\[\]]{1,512}+)(?=@)")),
    Finder("KEY", re.compile(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)?")),
    Finder(
        "KEY",
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gp)[-_][\w-]{16,}+|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[a-z]_\w{20,}+"
            r"|github_pat_\w{20,}+|glpat-[\w-]{16,}+|xox[a-z]-[\w-]{10,}+|AIza[\w-]{30,}+|hf_\w{20,}+)"
        ),
    ),
    Finder("KEY", re.compile(r"(?i)\bbearer[ \t]{1,3}([\w.~+/=-]{12,}+)")),
    Finder(
        "KEY",
        re.compile(
            r"(?i)(?:api[_-]?key|access[_-]?key|token|secret|password|passwd|pwd)"
            r"[\"']?[ \t]{0,3}[=:][ \t]{0,3}[\"']?[^\s\"'&,;=:\[\]]{6,}+"
        ),
        _secret,
    ),
    Finder("EMAIL", re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w%+-]++(?:[.@]++[\w%+-]++)++")),
    Finder("IBAN", re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}", re.ASCII), _iban),
    Finder("IP", re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]{6,}+(?!\w)"), _ip),
    Finder("CARD", re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}+", re.ASCII), _cards),
    Finder("NUMBER", re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)", re.ASCII)),
    Finder("PHONE", re.compile(r"(?<![\w+])\+\(?\d(?:[ .\-/()]{0,2}\d){6,14}(?!\d)", re.ASCII)),
    Finder("PHONE", re.compile(r"(?<![\d.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)", re.ASCII)),
    Finder("PHONE", re.compile(r"(?<![\d.,])\(?0\d{1,5}\)?[ /-]{1,2}\d(?:[ /-]?\d){4,11}(?!\d)", re.ASCII), _phone),
    Finder("NUMBER", re.compile(r"(?<!\d)(?<!\d\.)\d{9,}+", re.ASCII)),
)
