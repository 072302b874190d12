"""What a prompt itself can ask of the simulator, in double brackets; unlike headers it passes relays and translators.

`[[fault:reset]]` or `[[fault:{"kind":"status","status":429}]]` names the fault this request meets, `[[say:...]]` the
answer, `[[tokens:100]]` its length.
"""

import re
from typing import Final, NamedTuple

import msgspec

from loadtests.errors import InvalidFileError
from loadtests.simulator.faults import Fault
from loadtests.simulator.wire import WireError
from loadtests.strict import convert

_DIRECTIVE: Final = re.compile(r"\s*\[\[(fault|say|tokens):(.*?)\]\](?!\])", re.DOTALL)
_TOKENS_MAX: Final = 100_000


class Directives(NamedTuple):
    """A question without its directives, and what these ask for."""

    question: str
    fault: Fault | None = None
    say: str | None = None
    tokens: int | None = None


def directives(question: str) -> Directives:
    """Take the directives out of a question; raises WireError (400) for one that cannot be followed."""
    if "[[" not in question:
        return Directives(question)
    found = dict(_DIRECTIVE.findall(question))
    fault = fault_of(found["fault"]) if "fault" in found else None
    tokens = _tokens(found["tokens"]) if "tokens" in found else None
    return Directives(_DIRECTIVE.sub("", question).strip(), fault, found.get("say"), tokens)


def fault_of(text: str) -> Fault:
    """Read a fault given with a request: a kind alone, or a JSON object; raises WireError (400)."""
    try:
        data = msgspec.json.decode(text) if text.lstrip().startswith("{") else {"kind": text.strip()}
        return convert(data, Fault, "fault")
    except InvalidFileError as error:
        raise WireError(400, f"{error.cause}; {error.hint}", code="bad_directive") from None
    except msgspec.DecodeError as error:
        raise WireError(400, f"fault: {error}", code="bad_directive") from None


def _tokens(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _TOKENS_MAX:
        raise WireError(400, f"tokens: a number from 1 to {_TOKENS_MAX}", code="bad_directive")
    return int(text)
