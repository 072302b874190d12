import tomllib
from pathlib import Path

import pytest

from loadtests.bench import subjects
from loadtests.bench.subjects import Cores, assign_cores
from loadtests.bench.workloads import Workload


@pytest.mark.parametrize(
    ("available", "cores"),
    [([0, 1, 2, 3], Cores(1, 2, 0)), ([4, 5, 6], Cores(5, 6, 4)), ([0, 1], Cores(1, 0, 0)), ([7], Cores(7, 7, 7))],
)
def test_the_subject_has_a_core_of_its_own_where_there_are_two(available: list[int], cores: Cores) -> None:
    assert assign_cores(available) == cores


def test_a_long_answer_is_cut_into_pieces_nginx_takes(tmp_path: Path) -> None:
    answer = "it's \\ " + "x" * 5_000
    subject = subjects.upstream(tmp_path, Workload("w", "{}", answer, "text/plain"), 1234, 0)
    text = Path(subject.argv[-1]).read_text()
    assert text.count("set $piece") == 3
    assert "it\\'s \\\\ " in text
    assert "return 200 '${piece0}${piece1}${piece2}'" in text


def test_the_gateway_is_configured_with_two_arms_and_a_key(tmp_path: Path) -> None:
    subject = subjects.glidepath(tmp_path, 1, 2, 3, 0)
    config = tomllib.loads(Path(subject.argv[-1]).read_text())
    assert config["features"]["summarize"] == {"candidate": "inhouse", "baseline": "partner"}
    assert {each["base_urls"][0] for each in config["upstreams"].values()} == {"http://127.0.0.1:1/v1"}
    assert (config["server"]["port"], config["admin"]["port"], subject.port) == (2, 3, 2)
    assert subject.environment == {"GLIDEPATH_BOOTSTRAP_KEY": subjects.KEY}
