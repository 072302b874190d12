import tomllib

from gateway.settings import Settings, parse
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


def test_what_it_comments_out_are_defaults_too() -> None:
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line.split("#")[1] else line
        for line in CONFIG_TEMPLATE.splitlines()
    )
    assert uncommented != CONFIG_TEMPLATE
    given, shown = settings_of(CONFIG_TEMPLATE), settings_of(uncommented)
    partner = shown.upstreams["partner"].model_copy(update={"api_key_env": None})
    assert shown.upstreams["partner"].api_key_env == "OPENAI_API_KEY"
    assert partner == given.upstreams["partner"]
    assert shown.server == given.server
