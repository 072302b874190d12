"""One model to serve, read strictly from TOML.

A `model` that starts with `/`, `./`, `../` or `~` is a directory, relative to the TOML file; anything else is a hub
id, which must be pinned to a commit so that a restart never serves other weights.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from serving.errors import SpecError

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]

# Long enough to take the same kernels as real prompts: vLLM 0.32 treats four tokens and fewer differently.
WARM_UP = "This first request warms the engine up before anybody depends on it."
MIN_WARM_UP_CHARS = 32

# What argv() writes itself: said twice, the last one would win silently.
_MANAGED_FLAGS = {
    "--model": "model",
    "--revision": "revision",
    "--served-model-name": "served_name",
    "--host": "host",
    "--port": "port",
    "--dtype": "dtype",
    "--max-model-len": "max_model_len",
    "--tensor-parallel-size": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel",
    "--data-parallel-size": "data_parallel",
    "--enable-expert-parallel": "expert_parallel",
    "--enable-prefix-caching": "prefix_caching",
    "--no-enable-prefix-caching": "prefix_caching",
    "--quantization": "quantization",
    "--kv-cache-memory-bytes": "kv_cache_gib",
    "--gpu-memory-utilization": "gpu_memory_share",
    "--enforce-eager": "enforce_eager",
    "--max-num-seqs": "max_num_seqs",
}


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to serve and how. Sizes are counts unless the name ends in a unit; `None` leaves vLLM's own default."""

    model: str
    served_name: Annotated[str, msgspec.Meta(min_length=1)]
    revision: str = ""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_model_len: Count | None = None
    max_num_seqs: Count | None = None
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    data_parallel: Count = 1
    expert_parallel: bool = False
    prefix_caching: bool = True
    quantization: str | None = None
    kv_cache_gib: Seconds | None = None
    gpu_memory_share: Share | None = None
    enforce_eager: bool = False
    cpu_threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    warm_up: Annotated[str, msgspec.Meta(min_length=MIN_WARM_UP_CHARS)] = WARM_UP
    start_timeout_s: Seconds = 900.0
    drain_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    env: dict[str, str] = {}
    extra_args: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether `model` is a directory rather than a hub id (after parsing, a directory is absolute)."""
        return _is_path(self.model)

    @property
    def world_size(self) -> int:
        """Number of workers the model is spread over."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def url(self) -> str:
        """Base URL a process on this machine reaches the server by."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104  compared, not bound
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"


def parse(text: str, base: Path, name: str = "spec") -> ModelSpec:
    """Read a spec from TOML `text`; relative paths are taken from directory `base`. Raises SpecError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{name} is not valid TOML: {error}", "fix the line it names") from None
    _refuse_unknown(table, name)
    try:
        spec = msgspec.convert(table, ModelSpec, strict=True)
    except msgspec.ValidationError as error:
        raise SpecError(f"{name}: {_plain(str(error))}", "see the commented specs in serving/models") from None
    _refuse_contradictions(spec, name)
    return _with_absolute_model(spec, base) if spec.is_local else spec


def load(path: Path) -> ModelSpec:
    """Read the spec in the file `path`. Raises SpecError when it is missing, unreadable or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"no model spec at {path}", "give a TOML file or the name of one in serving/models") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the model spec {path}: {error}", "give a readable UTF-8 TOML file") from None
    return parse(text, path.resolve().parent, str(path))


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./", "../", "~")) or model in {".", ".."}


def _refuse_unknown(table: dict[str, object], name: str) -> None:
    known = ModelSpec.__struct_fields__
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise SpecError(f"{name}: unknown key {key!r}", hint)


def _refuse_contradictions(spec: ModelSpec, name: str) -> None:
    if spec.is_local and spec.revision:
        raise SpecError(f"{name}: a model directory has no revision", "remove `revision`")
    if not spec.is_local and not re.fullmatch(r"[\w.-]+/[\w.-]+", spec.model):
        raise SpecError(
            f"{name}: model {spec.model!r} is neither a path nor a hub id",
            f"for a directory write './{spec.model}', for the hub 'owner/name'",
        )
    if not spec.is_local and not re.fullmatch(r"[0-9a-f]{40}", spec.revision):
        raise SpecError(
            f"{name}: a hub model must be pinned", "set `revision` to the 40-digit commit of the weights you tested"
        )
    for argument in spec.extra_args:
        key = _MANAGED_FLAGS.get(argument.partition("=")[0].replace("_", "-"))
        if key:
            raise SpecError(f"{name}: extra_args must not set {argument}", f"use the key `{key}`")


def _with_absolute_model(spec: ModelSpec, base: Path) -> ModelSpec:
    try:
        path = Path(spec.model).expanduser()
    except RuntimeError:
        raise SpecError(f"cannot find the home directory in {spec.model!r}", "write the whole path") from None
    return msgspec.structs.replace(spec, model=str((base / path).resolve()))


def _plain(message: str) -> str:
    """Turn msgspec's "... - at `$.port`" into "port: ..."."""
    what, _, where = message.partition(" - at `$")
    return f"{where.strip('.`')}: {what}" if where else what
