"""Official clients with only their base URL changed: everything they offer for these endpoints.

Against the simulator itself, which proves that its shapes are the vendors' own; and against the gateway, everybody on
one arm, then on the other: a vLLM server, an OpenAI-compatible partner, and Anthropic, for whom chats are translated
(messages are for the two others).
"""

from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]

ARMS = ("candidate", "baseline")
TRANSLATED = "anthropic"


class Group(NamedTuple):
    """One script of a client, and how many checks it has when it speaks to the simulator directly."""

    language: str
    client: str
    script: str
    checks: int
    translates: bool = True
    """Whether an upstream of Anthropic's kind can serve it."""
    untranslated: frozenset[str] = frozenset()
    """Checks that fail there: what the translation refuses by name, and error codes, which Anthropic doesn't have."""


GROUPS = (
    Group(
        "python",
        "openai",
        "openai_chat.py",
        19,
        untranslated=frozenset(
            {"several_choices_and_logprobs", "json_mode", "text_completion_streamed", "text_completion"}
        ),
    ),
    Group("python", "openai", "openai_errors.py", 20, untranslated=frozenset({"a_bad_request", "a_context_overflow"})),
    Group("python", "openai", "openai_responses.py", 14, translates=False),
    Group("python", "anthropic", "anthropic_messages.py", 12),
    Group("python", "anthropic", "anthropic_errors.py", 12),
    Group("python", "anthropic", "anthropic_models.py", 2),
    Group(
        "node",
        "openai",
        "openai_chat.mjs",
        13,
        untranslated=frozenset({"text completion", "several choices and logprobs"}),
    ),
    Group("node", "openai", "openai_errors.mjs", 15, untranslated=frozenset({"a context overflow"})),
    Group("node", "openai", "openai_responses.mjs", 8, translates=False),
    Group(
        "node",
        "ai",
        "ai_chat.mjs",
        20,
        untranslated=frozenset({"completion: token limit", "completion: text", "completion: stream"}),
    ),
    Group("node", "ai", "ai_responses.mjs", 10, translates=False),
    Group("node", "ai", "ai_messages.mjs", 10),
)
CASES = [(group, "simulator") for group in GROUPS]
CASES += [(group, arm) for arm in ARMS for group in GROUPS]
CASES += [(group, TRANSLATED) for group in GROUPS if group.translates]


@pytest.mark.parametrize(
    ("group", "target"),
    CASES,
    ids=[f"{group.language}-{group.script.partition('.')[0]}-{name}" for group, name in CASES],
)
def test_a_client_gets_all_it_expects(run_client, target_of, group: Group, target: str) -> None:
    found = run_client(group.language, group.client, group.script, target_of(target))
    problems = {name: problem for name, problem in found.items() if problem}
    expected = group.untranslated if target == TRANSLATED else frozenset()
    assert set(problems) == expected, "\n\n".join(f"{name}: {problem}" for name, problem in problems.items())
    assert len(found) == group.checks if target == "simulator" else len(found) > group.checks // 2
