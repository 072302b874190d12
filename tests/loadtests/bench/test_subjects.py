import json
import tomllib
from pathlib import Path

import pytest

from loadtests.bench import subjects
from loadtests.bench.subjects import KEY, Place
from loadtests.bench.workloads import MODEL


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, upstream_port=1, port=2, second_port=3, cores=(4, 5))


def test_the_gateway_is_configured_with_two_arms_a_key_and_a_worker_per_core(place: Place) -> None:
    subject = subjects.glidepath(place)
    config = tomllib.loads(Path(subject.argv[-1]).read_text())
    assert config["features"]["summarize"] == {"candidate": "inhouse", "baseline": "partner"}
    assert {each["base_urls"][0] for each in config["upstreams"].values()} == {"http://127.0.0.1:1/v1"}
    assert config["server"] == {"port": 2, "workers": 2}
    assert (config["admin"]["port"], subject.port, subject.admin_port) == (3, 2, 3)
    assert subject.environment["GLIDEPATH_BOOTSTRAP_KEY"] == KEY
    assert (Path(subject.environment["PYTHONPATH"]) / "gateway" / "cli.py").is_file()


def test_the_gateway_with_evidence_is_the_same_and_is_waited_for(place: Place) -> None:
    plain, gathering = subjects.glidepath(place), subjects.gathering(place)
    assert gathering.argv == plain.argv
    assert (plain.name, plain.rests_s) == (subjects.OURS, 0.0)
    assert gathering.name == subjects.GATHERING
    assert gathering.rests_s > 2 * subjects.AGE_S


def test_litellm_serves_the_same_model_with_the_same_key(place: Place) -> None:
    subject = subjects.litellm(Path("/p/litellm"), place)
    config = json.loads(Path(subject.argv[subject.argv.index("--config") + 1]).read_text())
    assert config["model_list"][0]["model_name"] == MODEL
    assert config["general_settings"]["master_key"] == KEY
    assert subject.argv[subject.argv.index("--num_workers") + 1] == "2"


@pytest.mark.parametrize("start", [subjects.vllm_router, subjects.sglang_router])
def test_a_router_is_pinned_and_told_the_upstream(start: object, place: Place) -> None:
    subject = start(Path("/p/router"), place)  # type: ignore[operator]
    assert subject.argv[:4] == ("taskset", "-c", "4,5", "/p/router")
    assert subject.argv[subject.argv.index("--worker-urls") + 1] == "http://127.0.0.1:1"
    assert subject.argv[subject.argv.index("--port") + 1] == "2"


def test_slow_subjects_sit_out_two_of_three_turns(place: Place) -> None:
    slow, fast = subjects.litellm(Path("/p/litellm"), place), subjects.proxy(place)
    assert [turn for turn in range(7) if slow.takes_part(turn)] == [0, 3, 6]
    assert all(fast.takes_part(turn) for turn in range(7))


def test_the_upstream_itself_is_a_subject_that_runs_already() -> None:
    assert subjects.direct(9, 0) == subjects.Subject("direct", (), 9, (0,), {})
