from pathlib import Path

import pytest

from loadtests.errors import InvalidFileError
from loadtests.simulator.config import SimulatorConfig, load_references, read_config
from loadtests.simulator.faults import FaultKind

LINE = '{"task": "draft", "messages": [{"role": "user", "content": "q"}], "reference": "a"}\n'


def test_a_whole_file_is_read_and_its_references_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "refs.jsonl").write_text(LINE)
    path = tmp_path / "partner.toml"
    path.write_text(
        'models = ["a", "b"]\nseed = 3\naccuracy = 0.9\nreferences = "refs.jsonl"\n'
        '[latency]\nttft_median_s = 0.5\n[[faults]]\nkind = "status"\nstatus = 429\nrate = 0.1\n'
    )
    config = read_config(path)
    assert (config.models, config.seed, config.accuracy) == (("a", "b"), 3, 0.9)
    assert config.latency.ttft_median_s == 0.5
    assert (config.faults[0].kind, config.faults[0].status) == (FaultKind.STATUS, 429)
    assert load_references(config).answers == {"q": "a"}


def test_an_empty_file_is_the_declared_simulator_without_references(tmp_path: Path) -> None:
    path = tmp_path / "partner.toml"
    path.write_text("")
    assert read_config(path) == SimulatorConfig()
    assert read_config(path).models == ("simulated-partner",)
    assert load_references(SimulatorConfig()).answers == {}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("acuracy = 1.0", "did you mean `accuracy`"),
        ("[latency]\nttft_median = 1", "did you mean `ttft_median_s`"),
        ("models = []", "correct the value"),
        ("accuracy = 2.0", "correct the value"),
        ("seed = [", "correct the line"),
    ],
)
def test_a_bad_file_is_refused_with_a_hint(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "partner.toml"
    path.write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        read_config(path)
    assert str(path) in caught.value.cause
    assert "\n" not in caught.value.cause
    assert hint in caught.value.hint
