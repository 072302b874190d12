from pathlib import Path

import pytest

from rollout.cli.local import Local, find, judges_here
from rollout.core.errors import InvalidArgument


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_given_means_the_default_port_and_no_key() -> None:
    assert find(None, None, {}) == Local("http://127.0.0.1:8081", None)


def test_the_command_line_wins() -> None:
    environment = {"GLIDEPATH_ADMIN_URL": "http://env", "GLIDEPATH_API_KEY": "env"}
    assert find("http://given", "given", environment) == Local("http://given", "given")
    assert find(None, None, environment) == Local("http://env", "env")


@pytest.mark.parametrize(
    ("admin", "url"),
    [
        ("port = 9001", "http://127.0.0.1:9001"),
        ('host = "0.0.0.0"\nport = 9001', "http://127.0.0.1:9001"),
        ('host = "::1"', "http://[::1]:8081"),
        ('host = "10.0.0.7"', "http://10.0.0.7:8081"),
    ],
)
def test_the_folders_configuration_says_where(tmp_path: Path, admin: str, url: str) -> None:
    (tmp_path / "glidepath.toml").write_text(f"[admin]\n{admin}\n")
    assert find(None, None, {}).admin_url == url
    assert find(None, None, {"GLIDEPATH_ADMIN__PORT": "77"}).admin_url.endswith(":77")


@pytest.mark.parametrize("text", ["not toml", "admin = 3", "store = 'x'", "store = {state_dir = 3}"])
def test_a_bad_configuration_is_not_this_commands_business(tmp_path: Path, text: str) -> None:
    (tmp_path / "glidepath.toml").write_text(text)
    assert find(None, None, {}) == Local("http://127.0.0.1:8081", None)


@pytest.mark.parametrize(
    ("text", "judges"),
    [
        (None, None),
        ("not toml", None),
        ("[admin]\nport = 9001", frozenset()),
        ('[judges.third]\nurl = "http://h/v1"', frozenset({"third"})),
        ("judges = 3", frozenset()),
    ],
)
def test_judges_are_those_of_the_folders_configuration(
    tmp_path: Path, text: str | None, judges: frozenset[str] | None
) -> None:
    if text is not None:
        (tmp_path / "glidepath.toml").write_text(text)
    assert judges_here() == judges


def test_keys_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "glidepath.toml").write_text('[store]\nstate_dir = "state"\n')
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "dev-key").write_text("from-dev\n")
    (tmp_path / "other").write_text("from-file\n")
    assert find(None, None, {}).api_key == "from-dev"
    file = {"GLIDEPATH_KEY_FILE": str(tmp_path / "other")}
    assert find(None, None, file).api_key == "from-file"
    assert find(None, None, file | {"GLIDEPATH_BOOTSTRAP_KEY": "first"}).api_key == "first"
    assert find(None, None, file | {"GLIDEPATH_BOOTSTRAP_KEY": "a", "GLIDEPATH_API_KEY": "b"}).api_key == "b"


def test_a_named_key_file_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot read the key file"):
        find(None, None, {"GLIDEPATH_KEY_FILE": str(tmp_path / "absent")})
