import pytest

from serving.diagnosis import cause_of, cold, progress_of, silent, too_slow

ENGINE = "(EngineCore pid=12) ERROR 11-22 03:51:04 [core.py:1512] "
WRAPPER = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)

# Lines as vLLM 0.32 writes them.
SEEN = [
    ("  Value error, Model architectures ['GlideMoe'] are not supported for now. Supported: x", "GlideMoe", False),
    (
        "The checkpoint you are trying to load has model type `glide` but Transformers does not recognize",
        "glide",
        False,
    ),
    ("OSError: [Errno 98] Address already in use", "already in use", False),
    ("api_server.py: error: unrecognized arguments: --nonsense 3", "--nonsense 3", False),
    ("entry.py: error: argument --dtype: invalid choice: 'x'", "--dtype", False),
    (
        "  Value error, User-specified max_model_len (4096) is greater than the derived max_model_len (x=512)",
        "4096",
        False,
    ),
    (ENGINE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "out of memory", True),
    (ENGINE + "ValueError: x GiB) on kv cache allocation is less than requested memory for kv (1)", "KV cache", True),
    ("AssertionError: Not enough allowed NUMA nodes to bind threads of 3 local CPUWorkers.", "more workers", False),
    ("RuntimeError: Failed to infer device type", "no device", False),
    (ENGINE + "safetensors_rust.SafetensorError: Error while deserializing header", "damaged", False),
    (ENGINE + "RuntimeError: Cannot find any model weights with `now`", "no weights", False),
    ("ValueError: Couldn't instantiate the backend tokenizer from one of:", "tokenizer", False),
    ("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot", "hub", True),
    ("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error", "does not give", False),
    ("ModuleNotFoundError: No module named 'torch'", "No module named 'torch'", False),
]


@pytest.mark.parametrize(("line", "says", "can_heal"), SEEN)
def test_a_known_failure_is_named_in_one_line(line: str, says: str, can_heal: bool) -> None:  # noqa: FBT001
    cause = cause_of(["INFO starting", line, WRAPPER], 1)
    assert says in cause.line
    assert "\n" not in cause.line
    assert cause.hint
    assert cause.can_heal is can_heal


@pytest.mark.parametrize(("code", "says"), [(132, "SIGILL"), (134, "SIGABRT"), (137, "memory"), (139, "SIGSEGV")])
def test_a_silent_death_is_named_by_its_signal(code: int, says: str) -> None:
    cause = cause_of(["INFO fine"], code)
    assert says in cause.line
    assert cause.can_heal


def test_an_unknown_failure_is_named_by_its_first_exception_not_by_the_wrapper() -> None:
    cause = cause_of([ENGINE + "vllm.errors.QuuxError: the quux is loose", WRAPPER], 1)
    assert cause.line == "QuuxError: the quux is loose"
    assert cause.can_heal


def test_a_refused_configuration_is_named_by_its_detail_and_cannot_heal() -> None:
    lines = ["pydantic_core.ValidationError: 1 validation error for ModelConfig", "  Value error, no heads [type=value"]
    assert cause_of(lines, 1)[::2] == ("no heads", False)


def test_nothing_said_gives_the_status() -> None:
    assert "status 3" in cause_of([WRAPPER], 3).line


def test_a_cause_is_never_longer_than_a_person_reads() -> None:
    assert len(cause_of(["ValueError: " + "x" * 9000], 1).line) < 300


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("(APIServer pid=1) INFO 11-22 03:33:00 [api_utils.py:347]  █  version 0.32.0", "vLLM 0.32.0 runs"),
        ("Resolved architecture: Qwen3MoeForCausalLM", "architecture Qwen3MoeForCausalLM"),
        ("Initializing a V1 LLM engine (v0.32.0) with config", "engine process runs"),
        ("Starting to load model tiny...", "loading weights"),
        ("Loading weights took 0.02 seconds", "weights loaded in 0.02 s"),
        ("Dynamo bytecode transform time: 3.4 s", "compiling"),
        ("torch.compile took 12.50 s in total", "compiled in 12.50 s"),
        ("CPU KV cache size: 174,720 tokens, Maximum concurrency", "KV cache: 174,720 tokens"),
        ("Graph capturing finished in 7 secs", "CUDA graphs captured in 7 s"),
        ("Starting vLLM server on http://127.0.0.1:1", "HTTP server starts"),
        ("Route: /ping, Methods: GET", None),
    ],
)
def test_progress_lines_are_translated_and_others_are_not(line: str, words: str | None) -> None:
    assert progress_of(line) == words


def test_causes_of_living_processes() -> None:
    assert "within 5 s (starting)" in too_slow(5.0, "starting").line
    assert not too_slow(5.0, "warming").can_heal
    assert "HTTP 500" in cold("HTTP 500: x").line
    assert not cold("no token").can_heal
    assert silent().can_heal
