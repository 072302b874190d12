import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import spec
from serving.errors import SpecError

BASE = Path("/etc/models")
LOCAL = 'model = "./tiny"\nserved_name = "tiny"\n'
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = f'model = "owner/name"\nserved_name = "n"\nrevision = "{COMMIT}"\n'


def refusal(text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        spec.parse(text, BASE)
    return caught.value


def test_a_local_model_becomes_absolute_beside_its_toml() -> None:
    model = spec.parse(LOCAL, BASE)
    assert model.model == "/etc/models/tiny"
    assert model.is_local
    assert spec.parse(LOCAL.replace("./tiny", "../tiny"), BASE).model == "/etc/tiny"
    assert spec.parse(LOCAL.replace("./tiny", "/a/b"), BASE).model == "/a/b"
    assert spec.parse(LOCAL.replace("./tiny", "."), BASE).model == "/etc/models"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert spec.parse(LOCAL.replace("./tiny", "~/m"), BASE).model == "/home/someone/m"


def test_a_home_nobody_has_is_a_plain_error() -> None:
    assert "home directory" in refusal(LOCAL.replace("./tiny", "~nobody-has-this-name/m")).cause


def test_a_hub_model_keeps_its_id_and_needs_a_commit() -> None:
    model = spec.parse(HUB, BASE)
    assert (model.model, model.is_local, model.revision) == ("owner/name", False, COMMIT)
    for loose in ("main", "", "v1.0", COMMIT[:39]):
        assert "pinned" in refusal(HUB.replace(COMMIT, loose)).cause


def test_a_directory_has_no_revision() -> None:
    assert "no revision" in refusal(LOCAL + f'revision = "{COMMIT}"').cause


def test_a_bare_word_is_neither_path_nor_id() -> None:
    assert "'./tiny'" in refusal(LOCAL.replace("./tiny", "tiny")).hint


@pytest.mark.parametrize(
    ("key", "near"),
    [("max_model_length", "max_model_len"), ("served_nam", "served_name"), ("tensor_paralel", "tensor_parallel")],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(key: str, near: str) -> None:
    error = refusal(f"{LOCAL}{key} = 1")
    assert repr(key) in error.cause
    assert near in error.hint
    assert error.exit_code == 2


def test_an_unknown_key_like_no_other_gets_the_list() -> None:
    assert "served_name" in refusal(LOCAL + "zzz = 1").hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('port = "8000"', "port: Expected `int`"),
        ("port = 65536", "port: "),
        ("max_model_len = 0", "max_model_len: "),
        ("tensor_parallel = 0", "tensor_parallel: "),
        ("gpu_memory_share = 1.5", "gpu_memory_share: "),
        ("kv_cache_gib = 0", "kv_cache_gib: "),
        ('dtype = "fp8"', "dtype: "),
        ('warm_up = "Hi"', "warm_up: "),
        ("env = { A = 1 }", "env"),
        ("expert_parallel = 1", "expert_parallel: "),
    ],
)
def test_a_wrong_value_is_named(line: str, says: str) -> None:
    assert says in refusal(LOCAL + line).cause


def test_a_missing_key_is_named() -> None:
    assert "served_name" in refusal('model = "./tiny"').cause


def test_malformed_toml_names_the_line() -> None:
    assert "line 2" in refusal('model = "./x"\nport 8\n').cause


@pytest.mark.parametrize(
    "argument", ["--port", "--port=9", "--served_model_name", "--model=x", "--no-enable-prefix-caching"]
)
def test_extra_arguments_cannot_contradict_keys(argument: str) -> None:
    assert "use the key" in refusal(f'{LOCAL}extra_args = ["{argument}"]').hint


def test_other_extra_arguments_pass() -> None:
    assert spec.parse(LOCAL + 'extra_args = ["--seed", "1"]', BASE).extra_args == ("--seed", "1")


def test_world_size_is_the_product() -> None:
    text = LOCAL + "tensor_parallel = 2\npipeline_parallel = 3\ndata_parallel = 4"
    assert spec.parse(text, BASE).world_size == 24


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  text only
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("inference.example", "http://inference.example:8000"),
    ],
)
def test_the_url_is_one_this_machine_can_reach(host: str, url: str) -> None:
    assert spec.parse(f'{LOCAL}host = "{host}"', BASE).url == url


def test_loading_a_file_names_it_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(LOCAL)
    assert spec.load(path).model == str(tmp_path / "tiny")
    path.write_text(LOCAL + "zzz = 1")
    with pytest.raises(SpecError, match=r"m\.toml"):
        spec.load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no model spec"):
        spec.load(tmp_path / "absent.toml")
    with pytest.raises(SpecError, match="cannot read"):
        spec.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(SpecError, match="cannot read"):
        spec.load(tmp_path / "latin.toml")


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused_politely(text: str) -> None:
    with contextlib.suppress(SpecError):
        assert spec.parse(text, BASE).served_name


@given(st.dictionaries(st.text(max_size=20), st.integers() | st.text(max_size=5) | st.booleans(), max_size=4))
def test_any_further_keys_are_refused_with_a_cause_and_a_hint(extra: dict[str, object]) -> None:
    lines = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in extra.items() if key.isascii())
    unknown = [key for key in extra if key.isascii() and key not in spec.ModelSpec.__struct_fields__]
    if unknown and "\x7f" not in lines:
        error = refusal(LOCAL + lines)
        assert error.cause
        assert error.hint


@pytest.mark.parametrize("name", ["demo-good", "demo-worse", "example-gpu"])
def test_the_shipped_specs_parse(name: str) -> None:
    path = Path(spec.__file__).parent / "models" / f"{name}.toml"
    assert spec.load(path).served_name


def test_the_demo_specs_point_at_the_shipped_weights() -> None:
    models = Path(spec.__file__).parent / "models"
    for name in ("good", "worse"):
        model = spec.load(models / f"demo-{name}.toml")
        assert model.served_name == f"demo-moe-{name}"
        assert Path(model.model) == models.parent / "demo_model" / "weights" / name
