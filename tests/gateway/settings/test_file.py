from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load, parse, upstream_keys

MINIMAL = """
[upstreams.inhouse]
kind = "vllm"
base_urls = ["http://127.0.0.1:8000/v1"]
model = "moe"

[upstreams.partner]
kind = "openai"
base_urls = ["https://partner.example/v1", "http://[::1]:9/v1"]
model = "gpt"

[features.draft]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str | bytes) -> Path:
        path = tmp_path / "glidepath.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def refusal(path: Path, environment: dict[str, str] | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(path, environment or {})
    error = caught.value
    assert error.exit_code != 0
    assert error.cause
    assert "\n" not in error.cause
    assert error.hint
    assert "\n" not in error.hint
    assert "pydantic" not in error.cause + error.hint
    return error


def test_a_minimal_file_and_its_defaults(write) -> None:
    settings = load(write(MINIMAL), {})
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8080, 1)
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 8081)
    assert settings.store.url.startswith("sqlite:///")
    assert settings.upstreams["partner"].base_urls == ("https://partner.example/v1", "http://[::1]:9/v1")
    assert settings.features["draft"].candidate == "inhouse"


def test_an_empty_file_is_all_defaults(write) -> None:
    assert load(write(""), {}) == Settings()


def test_settings_are_frozen(write) -> None:
    settings = load(write(MINIMAL), {})
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        ("[server", "not valid TOML", "mend"),
        ("port = 80\nport = 81", "not valid TOML", "mend"),
        (b"x = '\xff'", "not UTF-8", "UTF-8"),
        ("[server]\nprot = 80", "unknown key 'server.prot'", "'port'"),
        ("[server]\nzzz = 80", "unknown key 'server.zzz'", "port"),
        ("[sever]\nport = 80", "unknown key 'sever'", "'server'"),
        ("[admin]\nhots = 'x'", "unknown key 'admin.hots'", "'host'"),
        ("[store]\nulr = 'x'", "unknown key 'store.ulr'", "'url'"),
        ("[server]\nport = 'x'", "server.port", "'x'"),
        ("[server]\nport = 70000", "server.port", "70000"),
        ("[server]\nport = -1", "server.port", "-1"),
        ("[server]\nkeep_alive_s = 0", "server.keep_alive_s", "0"),
        ("[server]\nbody_max_bytes = 5", "server.body_max_bytes", "5"),
        ("server = 5", "server", "5"),
    ],
)
def test_a_fault_is_one_line_of_cause_and_one_of_hint(write, text: str | bytes, cause: str, hint: str) -> None:
    error = refusal(write(text))
    assert cause in error.cause
    assert hint in error.hint


@pytest.mark.parametrize(
    ("old", "new", "cause", "hint"),
    [
        ('model = "moe"', 'model = "moe"\nbase_url = "x"', "unknown key 'upstreams.inhouse.base_url'", "'base_urls'"),
        ('model = "moe"', "", "upstreams.inhouse.model is missing", "init"),
        ('model = "moe"', 'model = ""', "upstreams.inhouse.model", "''"),
        ('kind = "vllm"', 'kind = "vlm"', "upstreams.inhouse.kind", "'vlm'"),
        ('"http://127.0.0.1:8000/v1"', "", "upstreams.inhouse.base_urls", "[]"),
        ('"http://127.0.0.1:8000/v1"', '"127.0.0.1:8000"', "not a base URL", "127.0.0.1:8000"),
        ('"http://127.0.0.1:8000/v1"', '"ftp://h/v1"', "not a base URL", "ftp"),
        ('"http://127.0.0.1:8000/v1"', '"http:///v1"', "not a base URL", "http"),
        ('"http://127.0.0.1:8000/v1"', '"http://h/v1?key=x"', "not a base URL", "http"),
        ('"http://127.0.0.1:8000/v1"', '"http://me:pw@h/v1"', "not a base URL", "http"),
        ('"http://127.0.0.1:8000/v1"', '"http://[::1/v1"', "upstreams.inhouse.base_urls", "http"),
        ('candidate = "inhouse"', "", "features.draft.candidate is missing", "init"),
        ('candidate = "inhouse"', 'candidate = "inhose"', "did you mean 'inhouse'", "table"),
        ('candidate = "inhouse"', 'candidate = "zzz"', "which is not there", "table"),
        ('candidate = "inhouse"', 'candidate = "partner"', "both 'partner'", "table"),
        ("[features.draft]", '[features."a b"]', "features.a b", "a b"),
        ("[upstreams.inhouse]", '[upstreams."a/b"]', "upstreams.a/b", "a/b"),
    ],
)
def test_faults_of_upstreams_and_features(write, old: str, new: str, cause: str, hint: str) -> None:
    error = refusal(write(MINIMAL.replace(old, new)))
    assert cause in error.cause
    assert hint in error.hint


@pytest.mark.parametrize(
    ("old", "new", "near"), [("base_urls", "base_url", "'base_urls'"), ("model =", "modle =", "'model'")]
)
def test_a_misspelt_required_key_is_unknown_not_missing(write, old: str, new: str, near: str) -> None:
    error = refusal(write(MINIMAL.replace(old, new)))
    assert "unknown key" in error.cause
    assert near in error.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:0/v1",
        "http://127.0.0.1/mod\u00e8le",
        "http://ex\u00e4mple/v1",
        "http://a..b/v1",
        "http://127.0.0.1/v 1",
        "http://127.0.0.1/v1#fragment",
    ],
)
def test_urls_that_cant_be_called_are_refused(write, url: str) -> None:
    assert "base_urls" in refusal(write(MINIMAL.replace("http://127.0.0.1:8000/v1", url))).cause


def test_no_such_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.toml")
    assert "no such file" in error.cause
    assert "init" in error.hint


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path).cause


def test_a_path_through_a_file_cant_be_read(write) -> None:
    assert "cannot read" in refusal(write("") / "inner.toml").cause


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("GLIDEPATH_SERVER__PORT", "9000", lambda s: s.server.port == 9000),
        ("GLIDEPATH_SERVER__HOST", "0.0.0.0", lambda s: s.server.host == "0.0.0.0"),  # noqa: S104  only text
        ("GLIDEPATH_SERVER__DRAIN_S", "2.5", lambda s: s.server.drain_s == 2.5),
        ("GLIDEPATH_STORE__URL", "redis://h:1/0", lambda s: s.store.url == "redis://h:1/0"),
        ("GLIDEPATH_UPSTREAMS__INHOUSE__MODEL", "other", lambda s: s.upstreams["inhouse"].model == "other"),
        ("GLIDEPATH_UPSTREAMS__INHOUSE__MODEL", '"8"', lambda s: s.upstreams["inhouse"].model == "8"),
        (
            "GLIDEPATH_UPSTREAMS__INHOUSE__BASE_URLS",
            '["http://h/v1"]',
            lambda s: s.upstreams["inhouse"].base_urls == ("http://h/v1",),
        ),
        ("GLIDEPATH_BOOTSTRAP_KEY", "gp-x", lambda s: s.server.port == 8080),
        ("OTHER__SERVER__PORT", "1", lambda s: s.server.port == 8080),
    ],
)
def test_the_environment_overrides(write, variable: str, value: str, read) -> None:
    assert read(load(write(MINIMAL), {variable: value}))


def test_the_environment_adds_sections_that_the_file_lacks(write) -> None:
    assert load(write(""), {"GLIDEPATH_ADMIN__PORT": "7"}).admin.port == 7


@pytest.mark.parametrize(
    ("text", "variable", "cause"),
    [
        (MINIMAL, "GLIDEPATH_SERVER__PROT", "server.prot"),
        (MINIMAL, "GLIDEPATH_SEVER__PORT", "sever"),
        (MINIMAL, "GLIDEPATH_FEATURES__DRAFT__CANDIDATE__X", "GLIDEPATH_FEATURES__DRAFT__CANDIDATE__X"),
        ("server = 5", "GLIDEPATH_SERVER__PORT", "GLIDEPATH_SERVER__PORT"),
    ],
)
def test_a_misspelt_override_is_refused(write, text: str, variable: str, cause: str) -> None:
    assert cause in refusal(write(text), {variable: "9"}).cause


def test_keys_come_from_the_variables_the_file_names(write) -> None:
    settings = load(write(MINIMAL.replace('model = "gpt"', 'model = "gpt"\napi_key_env = "PARTNER_KEY"')), {})
    assert upstream_keys(settings, {"PARTNER_KEY": "sk-1"}) == {"inhouse": None, "partner": "sk-1"}


@pytest.mark.parametrize("value", [None, "", "a b", "a\nb", "k\u00e9y", "key\r"])
def test_a_key_that_is_missing_or_no_key_is_named_but_not_shown(write, value: str | None) -> None:
    settings = load(write(MINIMAL.replace('model = "gpt"', 'model = "gpt"\napi_key_env = "PARTNER_KEY"')), {})
    with pytest.raises(SettingsError) as caught:
        upstream_keys(settings, {} if value is None else {"PARTNER_KEY": value})
    assert "PARTNER_KEY" in caught.value.cause
    assert not value or value not in caught.value.cause + caught.value.hint


def test_a_document_that_has_been_read_already_names_its_source() -> None:
    with pytest.raises(SettingsError, match=r"^there: "):
        parse({"server": {"port": "x"}}, source="there")
