"""What vLLM's log says, in words for an operator: progress while it starts, the cause when it dies. Pure.

vLLM wraps a failure in many others ("Engine core initialization failed. See root cause above"), so causes are looked
for by what they say, most specific first, over all lines of the run, and only then by the first exception named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cause(NamedTuple):
    """Why the engine died. `can_heal`: a restart might help."""

    line: str
    hint: str
    can_heal: bool


class _Known(NamedTuple):
    pattern: re.Pattern[str]
    line: str
    hint: str
    can_heal: bool = False


def _known(pattern: str, line: str, hint: str, *, can_heal: bool = False) -> _Known:
    return _Known(re.compile(pattern), line, hint, can_heal)


_CAUSES = (
    _known(
        r"Model architectures \['?(?P<what>[^'\]]+)'?.*\] are not supported",
        "this vLLM does not know the architecture {what}",
        "use a newer vLLM, or a model whose config.json names a supported architecture",
    ),
    _known(
        r"model type `(?P<what>[^`]+)` but Transformers does not recognize",
        "this vLLM does not know the model type {what}",
        "use a newer vLLM, or a model whose config.json names a supported type",
    ),
    _known(
        r"error while attempting to bind|[Aa]ddress already in use",
        "the port is already in use",
        "stop what uses it, or give another with --port",
    ),
    _known(
        r"unrecognized arguments: (?P<what>.+)",
        "this vLLM does not know the argument {what}",
        "correct `extra_args` in the spec",
    ),
    _known(r"error: argument (?P<what>.+)", "vLLM refuses an argument: {what}", "correct it in the spec"),
    _known(
        r"User-specified max_model_len \((?P<what>\d+)\) is greater",
        "max_model_len {what} is more than the model was made for",
        "lower `max_model_len` in the spec",
    ),
    _known(
        r"CUDA out of memory|torch\.OutOfMemoryError|DefaultCPUAllocator: can't allocate memory|std::bad_alloc",
        "out of memory",
        "lower `kv_cache_gib`, `max_model_len` or `max_num_seqs`, quantise, or spread over more GPUs",
        can_heal=True,
    ),
    _known(
        r"No available memory for the cache blocks|is less than requested memory for kv"
        r"|is less than desired (?:CPU|GPU) memory utilization|needed, which is larger than the available KV cache",
        "not enough memory for the KV cache",
        "lower `kv_cache_gib`, `gpu_memory_share` or `max_model_len`, or stop what else uses the memory",
        can_heal=True,
    ),
    _known(
        r"World size \((?P<what>\d+)\) is larger than the number of available GPUs|Not enough allowed NUMA nodes",
        "the spec asks for more workers than this machine has devices",
        "lower `tensor_parallel`, `pipeline_parallel` or `data_parallel`",
    ),
    _known(
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver",
        "vLLM finds no device to compute on",
        "check the GPU driver, or use the CPU build: glidepath serving install --cpu",
    ),
    _known(
        r"SafetensorError|deserializing header|Unterminated string|InvalidHeader|MetadataIncomplete",
        "the model's weights are damaged or incomplete",
        "copy or build the model again",
    ),
    _known(r"Cannot find any model weights", "the model directory has no weights", "finish the download or the build"),
    _known(
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer|tokenizer.* not found",
        "the model has no usable tokenizer",
        "put the tokenizer files beside the weights",
    ),
    _known(
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|We couldn't connect to|couldn't be reached|ConnectionError",
        "the model is not on this machine and the hub cannot be reached",
        "download it first, then name the directory as `model`",
        can_heal=True,
    ),
    _known(
        r"RepositoryNotFoundError|RevisionNotFoundError|GatedRepoError|Invalid repository ID or local directory",
        "the hub does not give this model in this revision",
        "check `model` and `revision`, and HF_TOKEN for a model that needs consent",
    ),
    _known(
        r"(?:ModuleNotFoundError|ImportError): (?P<what>.+)",
        "the vLLM environment is broken: {what}",
        "delete it and run: glidepath serving install",
    ),
)

_EXITS = {
    132: ("vLLM used an instruction this CPU refuses (SIGILL)", "the build does not fit this CPU: use another machine"),
    134: ("vLLM aborted (SIGABRT)", "the log says more"),
    137: ("vLLM was killed (SIGKILL), most often by the kernel for using too much memory", "lower `kv_cache_gib`"),
    139: ("vLLM crashed (SIGSEGV)", "the log says more"),
}

_DETAIL = re.compile(r"^\s*Value error, (?P<what>.+?)(?: \[type=|$)")
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(?P<what>\w+(?:Error|Exception): .+)$")
_PREFIX = re.compile(r"^\(\w+(?:_\w+)* pid=\d+\) (?:(?:INFO|WARNING|ERROR) \S+ \S+ \[[^\]]+\] ?)?")
_WRAPPERS = ("Engine core initialization failed", "EngineDeadError")
_MAX_CAUSE_CHARS = 240


def cause_of(lines: Sequence[str], exit_code: int) -> Cause:
    """Name the cause of a death from the log of that run and the exit code (128 + signal for signals)."""
    plain = [_PREFIX.sub("", line) for line in lines]
    for known in _CAUSES:
        for line in plain:
            if match := known.pattern.search(line):
                what = match.groupdict().get("what") or ""
                return Cause(_short(known.line.format(what=what)), known.hint, known.can_heal)
    if exit_code in _EXITS:
        return Cause(*_EXITS[exit_code], can_heal=True)
    for pattern in (_DETAIL, _EXCEPTION):
        for line in plain:
            if (match := pattern.match(line)) and not any(wrapper in line for wrapper in _WRAPPERS):
                return Cause(_short(match["what"]), "the log says more", can_heal=pattern is not _DETAIL)
    return Cause(f"vLLM ended with status {exit_code}", "the log says more", can_heal=True)


_PROGRESS = (
    (re.compile(r"version (\d\S+)\s*$"), "vLLM {0} runs"),
    (re.compile(r"Resolved architecture: (\S+)"), "architecture {0}"),
    (re.compile(r"Initializing a V\d LLM engine"), "engine process runs"),
    (re.compile(r"Starting to load model"), "loading weights"),
    (re.compile(r"Loading weights took ([\d.]+) seconds"), "weights loaded in {0} s"),
    (re.compile(r"Dynamo bytecode transform time|torch\.compile is turned on|Compiling a graph"), "compiling"),
    (re.compile(r"torch\.compile t(?:akes|ook) ([\d.]+) s"), "compiled in {0} s"),
    (re.compile(r"KV cache size: ([\d,]+) tokens"), "KV cache: {0} tokens"),
    (re.compile(r"Graph capturing finished in ([\d.]+) sec"), "CUDA graphs captured in {0} s"),
    (re.compile(r"Starting vLLM (?:API )?server"), "HTTP server starts"),
)


def progress_of(line: str) -> str | None:
    """Say what a log line means for somebody waiting for the start; None for most lines."""
    for pattern, words in _PROGRESS:
        if match := pattern.search(line):
            return words.format(*match.groups())
    return None


def too_slow(start_timeout_s: float, phase: str) -> Cause:
    """Name the cause when a live process did not get ready in time."""
    hint = "raise `start_timeout_s` in the spec if the model is only slow to load"
    return Cause(f"vLLM was not ready within {start_timeout_s:g} s ({phase})", hint, can_heal=False)


def cold(answer: str) -> Cause:
    """Name the cause when the server is up but the warm-up brings no token."""
    return Cause(_short(f"vLLM answers, but the warm-up brought {answer}"), "the log says more", can_heal=False)


def silent() -> Cause:
    """Name the cause when a ready server stopped answering."""
    return Cause("vLLM stopped answering /health", "the log says more", can_heal=True)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_CAUSE_CHARS else text[:_MAX_CAUSE_CHARS] + "..."
