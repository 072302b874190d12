"""How to start whichever vLLM is installed: its argument list and environment, decided without touching anything.

vLLM 0.32 on a CPU runs three processes by default: the HTTP server, the engine core and one worker, each paying for
the import of vLLM. A model that needs one worker runs it inside the engine core instead (`_in_engine_worker`): a
quarter less start-up time, half the memory, no core spent spinning on shared memory, and more tokens per second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.spec import ModelSpec

GIB = 1 << 30

# A folder of its own, so that nothing else of glidepath becomes importable in vLLM's environment.
PLUGIN = Path(__file__).parent / "vllm_plugin"

# Set for the interpreter that runs glidepath, wrong or harmful for vLLM's. PYTHONDONTWRITEBYTECODE would make every
# start compile thousands of modules again; VLLM_CPU_KVCACHE_SPACE would silently beat the spec.
_NOT_INHERITED = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHOME",
        "PYTHONOPTIMIZE",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "VLLM_CPU_KVCACHE_SPACE",
        "__PYVENV_LAUNCHER__",
    }
)


class Installed(NamedTuple):
    """The vLLM found in an environment. `has_launchers`: 0.32's module that starts the server is there."""

    distribution: Literal["vllm", "vllm-cpu"]
    version: str
    python: Path
    has_launchers: bool = True

    @property
    def on_cpu(self) -> bool:
        """Whether this build computes on the CPU."""
        return self.distribution == "vllm-cpu"


def argv(spec: ModelSpec, installed: Installed) -> list[str]:
    """Give the whole command line, interpreter first."""
    command = [str(installed.python), "-m", *_entry_point(spec, installed)]
    command += ["--served-model-name", spec.served_name, "--host", spec.host, "--port", str(spec.port)]
    # One line a request says nothing that metrics don't, and costs on the hot path.
    command += ["--dtype", spec.dtype, "--disable-uvicorn-access-log"]
    command += ["--enable-prefix-caching" if spec.prefix_caching else "--no-enable-prefix-caching"]
    command += _options(spec)
    return [*command, *spec.extra_args]


def env(spec: ModelSpec, installed: Installed, inherited: Mapping[str, str], cores: int) -> dict[str, str]:
    """Give vLLM's environment: `inherited` without what would hurt, ours, then the spec's own on top.

    `cores` is how many CPUs this process may use.
    """
    ours = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(PLUGIN),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if spec.is_local:
        ours |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if installed.on_cpu:
        ours |= _threads(spec, cores)
    kept = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    return kept | ours | spec.env


def _entry_point(spec: ModelSpec, installed: Installed) -> list[str]:
    """Name the module that starts the server, and the model.

    The `vllm` command reads the metadata of a distribution called `vllm`, so `vllm-cpu` needs the launcher module
    behind it; `vllm` itself gets the command, which alone knows data parallelism.
    """
    if not installed.on_cpu:
        return ["vllm.entrypoints.cli.main", "serve", spec.model]
    if installed.has_launchers:
        return ["vllm.entrypoints.launchers.api_server.entry", "--model", spec.model]
    return ["vllm.entrypoints.openai.api_server", "--model", spec.model]


def _options(spec: ModelSpec) -> list[str]:
    kv_cache_bytes = None if spec.kv_cache_gib is None else int(spec.kv_cache_gib * GIB)
    valued: list[tuple[str, object, object]] = [
        ("--revision", spec.revision, ""),
        ("--max-model-len", spec.max_model_len, None),
        ("--max-num-seqs", spec.max_num_seqs, None),
        ("--tensor-parallel-size", spec.tensor_parallel, 1),
        ("--pipeline-parallel-size", spec.pipeline_parallel, 1),
        ("--data-parallel-size", spec.data_parallel, 1),
        ("--quantization", spec.quantization, None),
        ("--kv-cache-memory-bytes", kv_cache_bytes, None),
        ("--gpu-memory-utilization", spec.gpu_memory_share, None),
    ]
    options = [part for flag, value, unset in valued if value != unset for part in (flag, str(value))]
    switches = [("--enable-expert-parallel", spec.expert_parallel), ("--enforce-eager", spec.enforce_eager)]
    return options + [flag for flag, on in switches if on]


def _threads(spec: ModelSpec, cores: int) -> dict[str, str]:
    """Leave one core to the gateway, or what the spec says; several workers keep vLLM's own binding to NUMA nodes."""
    if spec.world_size > 1:
        return {}
    threads = spec.cpu_threads or max(1, cores - 1)
    return _in_engine_worker() | {"OMP_NUM_THREADS": str(threads)}


def _in_engine_worker() -> dict[str, str]:
    # The name says multiprocessing, but the server keeps its engine process either way: on a CPU this only stops
    # vLLM from replacing the in-process executor by one with a worker process. Binding is off because two servers
    # on one machine would be bound to the same cores.
    return {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
