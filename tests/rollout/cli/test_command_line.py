import argparse
import json

import pytest
import yaml
from rich.text import Text

from rollout.cli.command_line import PIPED_WIDTH, add_paging, add_reason, add_verb, epilog, say, show, written


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb = add_verb(parser.add_subparsers(), "do", lambda _: 7, "do it")
    add_reason(verb)
    add_paging(verb)
    return parser.parse_args(["do", "--reason", "r", *arguments])


@pytest.mark.parametrize(("columns", "width"), [(None, PIPED_WIDTH), ("90", 90)])
def test_what_goes_into_a_pipe_has_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str | None, width: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    show(parsed(), {}, Text("word " * 60))
    assert width - len("word") <= max(map(len, capsys.readouterr().out.splitlines())) <= width


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ((), "table"),
        (("--json",), "json"),
        (("-o", "json"), "json"),
        (("--output", "table"), "table"),
        (("-o", "yaml"), "yaml"),
    ],
)
def test_every_verb_can_speak_json(arguments: tuple[str, ...], output: str) -> None:
    args = parsed(*arguments)
    assert (args.output, args.run(args), args.reason) == (output, 7, "r")
    assert (args.limit, args.before, args.admin_url, args.api_key) == (20, None, None, None)


def test_an_answer_is_shown_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"name": "ü"}
    assert show(parsed("--json"), answer, Text("the table")) == 0
    assert json.loads(capsys.readouterr().out) == answer
    assert show(parsed(), answer, Text("the table")) == 0
    assert capsys.readouterr().out == "the table\n"
    assert show(parsed("-o", "yaml"), answer, Text("the table")) == 0
    assert capsys.readouterr().out == "name: ü\n"


def test_a_line_stands_for_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(parsed(), {"name": "ü"}, "in a line") == 0
    assert capsys.readouterr().out == "in a line\n"
    assert say(parsed("--json"), {"name": "ü"}, "in a line") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "ü"}


def test_both_forms_can_be_streamed() -> None:
    answers = [{"name": "ü", "lines": "a\nb"}, {"on": ["12:30", None]}]
    lines = [written("json", each, one_of_many=True) for each in answers]
    assert [json.loads(line) for line in lines] == answers
    assert not any("\n" in line for line in lines)
    documents = "\n".join(written("yaml", each, one_of_many=True) for each in answers)
    assert list(yaml.safe_load_all(documents)) == answers


def test_the_epilog_says_where_the_key_comes_from_and_what_exit_codes_mean() -> None:
    told = epilog("A command.\n\nExit codes: 0 done; 1 not. Faults are raised.")
    assert "GLIDEPATH_API_KEY" in told
    assert told.endswith("Exit codes: 0 done; 1 not. ")
    assert epilog(None).endswith("Exit codes:")
