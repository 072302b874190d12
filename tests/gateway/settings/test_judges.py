import pytest

from gateway.settings import Settings, SettingsError, judge_keys, judge_proxy, parse, proxy_credentials

MINIMAL = {"url": "http://127.0.0.1:8000/v1", "model": "judge-1"}


def test_defaults() -> None:
    judge = parse({"judges": {"j": MINIMAL}}, source="f").judges["j"]
    assert (judge.pairs_per_day, judge.concurrent, judge.timeout_s, judge.stale_s) == (1_000, 4, 60, 900)
    assert (judge.rubric, judge.rubric_file, judge.region) == (None, None, None)
    assert judge.parameters == {"temperature": 0, "max_tokens": 512}
    assert Settings().judges == {}


def test_parameters_are_replaced_as_a_whole() -> None:
    """Some models take no temperature."""
    parameters = {"max_completion_tokens": 2_000, "reasoning_effort": "low"}
    assert (
        parse({"judges": {"j": {**MINIMAL, "parameters": parameters}}}, source="f").judges["j"].parameters == parameters
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"url": "127.0.0.1:8000"}, "is not a base URL"),
        ({"url": "http://me:pw@h/v1"}, "is not a base URL"),
        ({"model": ""}, "kind 'model' needs model"),
        ({"model": "a\nb"}, "judges.j.model"),
        ({"modle": "x"}, "unknown key 'judges.j.modle'"),
        ({"rubric": "a", "rubric_file": "b"}, "give rubric or rubric_file, not both"),
        ({"rubric": ""}, "judges.j.rubric"),
        ({"pairs_per_day": 0}, "judges.j.pairs_per_day"),
        ({"concurrent": 0}, "judges.j.concurrent"),
        ({"timeout_s": 0}, "judges.j.timeout_s"),
        ({"answer_max_chars": 10}, "judges.j.answer_max_chars"),
        ({"parameters": {"messages": [], "n": 2}}, "messages, n: not for parameters"),
        ({"tls": {"key_file": "k"}}, "key_file needs cert_file"),
        ({"proxy_url": "https://proxy"}, "is not a proxy"),
        ({"file": "f.jsonl"}, "file: not for kind 'model'"),
        ({"kind": "references"}, "kind 'references' needs file"),
        ({"kind": "references", "file": "f"}, "model, url: not for kind 'references'"),
        ({"kind": "oracle"}, "judges.j.kind"),
    ],
)
def test_what_cannot_be_used_is_refused(more: dict, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"judges": {"j": MINIMAL | more}}, source="f")
    assert told in caught.value.cause


def test_a_judge_needs_somebody_to_ask_or_something_to_compare_with() -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"judges": {"j": {}}}, source="f")
    assert "judges.j: kind 'model' needs url and model" in caught.value.cause
    one = parse({"judges": {"j": {"kind": "references", "file": "f", "stale_s": 9}}}, source="f").judges["j"]
    assert (one.file, one.scorer, one.url, one.stale_s) == ("f", "same_words", "", 9)
    whole = parse({"judges": {"j": MINIMAL, "k": {"kind": "references", "file": "f"}}}, source="f")
    assert Settings.model_validate_json(whole.model_dump_json()) == whole


def test_the_way_through_a_proxy_has_credentials_of_its_own() -> None:
    through = {**MINIMAL, "proxy_url": "http://proxy:3128", "proxy_credentials_env": "J_PROXY"}
    upstream = {"kind": "openai", "base_urls": ["http://h"], "model": "m"}
    document = {"judges": {"j": through, "k": MINIMAL}, "upstreams": {"j": upstream}}
    assert proxy_credentials(parse(document, source="f"), {"J_PROXY": "me:word"}) == {
        "j": None, judge_proxy("j"): "me:word"
    }  # fmt: skip


def test_keys_come_from_the_variables_the_file_names() -> None:
    document = {"judges": {"j": {**MINIMAL, "api_key_env": "JUDGE_KEY"}, "k": MINIMAL}}
    settings = parse(document, source="f")
    assert judge_keys(settings, {"JUDGE_KEY": "sk-1"}) == {"j": "sk-1", "k": None}
    with pytest.raises(SettingsError) as caught:
        judge_keys(settings, {})
    assert caught.value.cause == "judges.j.api_key_env names JUDGE_KEY, which is not set"
