from pathlib import Path

import pytest

from loadtests.demo.errors import DemoError, ModelSpecError, StateDirError
from loadtests.demo.folder import claimed
from loadtests.demo.layout import INHOUSE, INHOUSE_WORSE
from loadtests.demo.partner import choose_partner
from loadtests.demo.ports import free_ports
from loadtests.demo.run import shipped_model_spec
from loadtests.demo.stack import Stack, served_name


def test_the_shipped_spec_is_found_and_names_its_model() -> None:
    assert served_name(shipped_model_spec()) == "demo-moe-good"
    assert served_name(shipped_model_spec("demo-worse")) == "demo-moe-worse"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("model = ", "is not valid TOML"),
        ("model = 'x'", "has no served_name"),
        ("served_name = 3", "has no served_name"),
    ],
)
def test_a_spec_that_can_not_be_used_is_one_line(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelSpecError, match=cause) as caught:
        served_name(path)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.cause


def test_a_missing_spec_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match="cannot read the model spec"):
        served_name(tmp_path / "none.toml")


async def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        folder.config.mkdir()
        stack = Stack(folder, free_ports(), choose_partner({}, "http://x"), {INHOUSE: shipped_model_spec()}, {})
        with pytest.raises(StateDirError, match="cannot write in"):
            await stack.start()
        await stack.stop()
    assert {state.phase for state in stack.states} == {"waiting"}


@pytest.mark.parametrize("prometheus", [None, "/usr/bin/prometheus"])
async def test_prometheus_is_a_part_where_there_is_one(tmp_path: Path, prometheus: str | None) -> None:
    with claimed(tmp_path) as folder:
        partner = choose_partner({}, "http://x")
        stack = Stack(folder, free_ports(), partner, {INHOUSE: shipped_model_spec()}, {}, prometheus=prometheus)
    assert stack.gated is (prometheus is not None)
    assert ("prometheus" in {state.name for state in stack.states}) is stack.gated
    with pytest.raises(DemoError, match="has not started"):
        assert stack.running


async def test_each_model_that_is_served_here_is_a_part(tmp_path: Path) -> None:
    specs = {INHOUSE: shipped_model_spec(), INHOUSE_WORSE: shipped_model_spec("demo-worse")}
    with claimed(tmp_path) as folder:
        stack = Stack(folder, free_ports(), choose_partner({}, "http://x"), specs, {})
    assert stack.inhouse == (INHOUSE, INHOUSE_WORSE)
    assert {"vllm", "vllm_worse"} <= {state.name for state in stack.states}
