import re
import tomllib

from gateway.settings import Settings, parse
from gateway.settings.judges import JudgeSettings
from gateway.template import CONFIG_TEMPLATE


def settings_of(text: str) -> Settings:
    return parse(tomllib.loads(text), source="template")


def test_it_is_valid_and_shows_the_defaults() -> None:
    settings = settings_of(CONFIG_TEMPLATE)
    assert (settings.server, settings.admin, settings.store) == (
        Settings().server,
        Settings().admin,
        Settings().store,
    )
    assert set(settings.features) == {"summarize"}


EXAMPLES = {"api_key_env", "region", "tls", "proxy_url", "proxy_credentials_env", "health", "price"}
"""Keys of an upstream that have no default worth showing."""


def test_what_it_comments_out_can_be_used_and_shows_the_defaults() -> None:
    uncommented = "\n".join(
        line.removeprefix("# ") if re.match(r"# (\[|\w+ = )", line) else line for line in CONFIG_TEMPLATE.splitlines()
    )
    assert uncommented != CONFIG_TEMPLATE
    given, shown = settings_of(CONFIG_TEMPLATE), settings_of(uncommented)
    partner = shown.upstreams["partner"].model_copy(
        update={key: getattr(given.upstreams["partner"], key) for key in EXAMPLES}
    )
    assert shown.upstreams["partner"].api_key_env == "OPENAI_API_KEY"
    assert partner == given.upstreams["partner"]
    assert shown.server.model_copy(update={"memory_max_mb": None}) == given.server
    assert shown.observability.trace_ratio == given.observability.trace_ratio
    assert shown.tenants["acme"].regions == ("eu",)
    judge = shown.judges["third"]
    given_keys = ("url", "model", "api_key_env", "region", "rubric_file", "proxy_url", "proxy_credentials_env")
    assert JudgeSettings(**{key: getattr(judge, key) for key in given_keys}) == judge
    assert shown.judges["sums"] == JudgeSettings(kind="references", file="sums.jsonl", scorer="number")
