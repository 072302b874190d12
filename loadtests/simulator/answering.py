"""Which answer a request gets: JSON by schema, tool calls, what the prompt dictates, or text by reference."""

from typing import Final, NamedTuple

import msgspec

from loadtests.simulator.answers import Answer, Finish, References, answer_to, generic_answer, limited, tokenise
from loadtests.simulator.directives import Directives
from loadtests.simulator.schema import instance
from loadtests.simulator.tools import calls_for
from loadtests.simulator.wire import Ask

_ANY_OBJECT: Final = {"simulated": True}


class Voice(NamedTuple):
    """What decides the text of answers: the known ones, the share of them given rightly, and a seed."""

    references: References
    seed: int
    accuracy: float
    generic_tokens: int


def answer(ask: Ask, wishes: Directives, voice: Voice) -> Answer:
    """Return the answer to one request, cut at its token limit; the same request always gets the same one."""
    after_result = ask.tool_result is not None
    if ask.toolbox.tools and (calls := calls_for(ask.toolbox, ask.question, after_result=after_result)):
        return Answer((), Finish.TOOL_CALLS, calls)
    if wishes.say is not None:
        return limited(tokenise(wishes.say), ask.max_tokens)
    if ask.schema is not None:
        value = instance(ask.schema) if ask.schema else _ANY_OBJECT
        return limited(tokenise(msgspec.json.encode(value).decode()), ask.max_tokens)
    if ask.tool_result is not None:
        return limited(tokenise(f"The tool said: {ask.tool_result}"), ask.max_tokens)
    if wishes.tokens is not None:
        return generic_answer(wishes.tokens, ask.max_tokens)
    return answer_to(
        ask.question,
        voice.references,
        seed=voice.seed,
        accuracy=voice.accuracy,
        generic_tokens=voice.generic_tokens,
        max_tokens=ask.max_tokens,
    )
