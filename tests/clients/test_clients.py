"""Official clients with only their base URL changed: everything they offer for these endpoints.

Against the simulator itself, which proves that its shapes are the vendors' own; and against the gateway, everybody on
one arm, then on the other.
"""

from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]

ARMS = ("candidate", "baseline")


class Group(NamedTuple):
    """One script of a client, and how many checks it has when it speaks to the simulator directly."""

    language: str
    client: str
    script: str
    checks: int
    behind_gateway: bool


GROUPS = (
    Group("python", "openai", "openai_chat.py", 19, behind_gateway=True),
    Group("python", "openai", "openai_errors.py", 20, behind_gateway=True),
    Group("python", "openai", "openai_responses.py", 14, behind_gateway=False),
    Group("python", "anthropic", "anthropic_messages.py", 12, behind_gateway=False),
    Group("python", "anthropic", "anthropic_errors.py", 12, behind_gateway=False),
    Group("python", "anthropic", "anthropic_models.py", 2, behind_gateway=False),
    Group("node", "openai", "openai_chat.mjs", 13, behind_gateway=True),
    Group("node", "openai", "openai_errors.mjs", 15, behind_gateway=True),
    Group("node", "openai", "openai_responses.mjs", 8, behind_gateway=False),
    Group("node", "ai", "ai_chat.mjs", 20, behind_gateway=True),
    Group("node", "ai", "ai_responses.mjs", 10, behind_gateway=False),
    Group("node", "ai", "ai_messages.mjs", 10, behind_gateway=False),
)
CASES = [(group, "simulator") for group in GROUPS]
CASES += [(group, arm) for arm in ARMS for group in GROUPS if group.behind_gateway]


@pytest.mark.parametrize(
    ("group", "target"),
    CASES,
    ids=[f"{group.language}-{group.script.partition('.')[0]}-{name}" for group, name in CASES],
)
def test_a_client_gets_all_it_expects(run_client, target_of, group: Group, target: str) -> None:
    found = run_client(group.language, group.client, group.script, target_of(target))
    problems = {name: problem for name, problem in found.items() if problem}
    assert not problems, "\n\n".join(f"{name}: {problem}" for name, problem in problems.items())
    assert len(found) == group.checks if target == "simulator" else len(found) > group.checks // 2
