"""docs/operations.md names settings, defaults and commands as they are."""

import re
from pathlib import Path

import pytest

from gateway.cli import _parser
from gateway.core.breaker import BreakerLimits
from gateway.core.retry import RetryRules
from gateway.feedback import ANSWERS_MAX
from gateway.settings.sections import ObservabilitySettings, ServerSettings
from gateway.settings.upstreams import BreakerSettings, HealthSettings, RetrySettings, UpstreamSettings
from gateway.settled import OTHERS_MAX, STRANGERS_MAX

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
SECTIONS = {"[server]": ServerSettings, "[upstreams.NAME]": UpstreamSettings}


def rows(section: str) -> list[tuple[str, str]]:
    """Setting and default of each row of a section's table."""
    table = PAGE.partition(f"| `{section}` | default |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \| (\d+) \|", table, re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_and_their_defaults(section: str) -> None:
    told = rows(section)
    assert len(told) >= 7
    for name, default in told:
        assert SECTIONS[section].model_fields[name].default == int(default), name


def test_the_numbers_in_the_text() -> None:
    health = HealthSettings(path="/health")
    assert (health.interval_s, health.unhealthy_after) == (5, 2)
    assert BreakerSettings().model_dump() == BreakerLimits()._asdict()
    assert BreakerLimits() == (5, 0.5, 10, 20, 1, 30)
    assert (RetrySettings().budget_ratio, RetryRules().enabled) == (0.2, True)
    assert ObservabilitySettings().trace_ratio == 0.01
    assert (ANSWERS_MAX, OTHERS_MAX // 2, STRANGERS_MAX // 2) == (100_000, 10_000, 1_000)


def test_commands_exist_with_the_options_that_are_named() -> None:
    help_of_all = _parser().format_help()
    for command in set(re.findall(r"`glidepath (\w+)", PAGE)):
        assert re.search(rf"^\s+{command}\s", help_of_all, re.MULTILINE), command


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
