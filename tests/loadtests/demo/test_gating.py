from pathlib import Path

from loadtests.demo.gating import find_prometheus, ungated, warning


def test_the_binary_is_looked_for_on_the_path_that_is_given(tmp_path: Path) -> None:
    assert find_prometheus({"PATH": str(tmp_path)}) is None
    program = tmp_path / "prometheus"
    program.touch(0o755)
    assert find_prometheus({"PATH": str(tmp_path)}) == str(program)


def test_what_can_not_be_shown_is_skipped_and_said() -> None:
    verdict = ungated({})
    assert verdict.ok
    assert verdict.skipped
    assert verdict.found == "SKIPPED: no prometheus binary; apt-get install prometheus"
    assert "apt-get install prometheus" in warning()


def test_in_ci_it_is_a_failure() -> None:
    verdict = ungated({"CI": "true"})
    assert not verdict.ok
    assert not verdict.skipped
