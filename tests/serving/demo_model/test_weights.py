"""The shipped checkpoints, read without torch or transformers."""

from __future__ import annotations

import json
import struct
from typing import Any

import jinja2
import pytest

from serving.demo_model.architecture import (
    CHAT_TEMPLATE,
    CONFIG,
    EOS_ID,
    GENERATION_CONFIG,
    PAD_ID,
    TURN_END,
    VOCABULARY_SIZE,
    chat_prompt,
)
from serving.demo_model.cli import WEIGHTS
from serving.demo_model.manifest import CHECKPOINTS, differences

LIMIT_BYTES = 6_000_000


def read(checkpoint: str, name: str) -> Any:
    return json.loads((WEIGHTS / checkpoint / name).read_text(encoding="utf-8"))


def test_files_are_those_of_the_manifest() -> None:
    assert differences(WEIGHTS) == []


def test_manifest_records_training_and_what_vllm_measured() -> None:
    checkpoints = json.loads((WEIGHTS / "MANIFEST.json").read_text())["checkpoints"]
    assert checkpoints["good"]["training"]["seed"] == checkpoints["worse"]["training"]["seed"]
    assert checkpoints["good"]["training"]["step"] > checkpoints["worse"]["training"]["step"]
    assert all(share >= 0.95 for share in checkpoints["good"]["served_exact_match"]["exact_match"].values())
    assert all(0.4 <= share <= 0.8 for share in checkpoints["worse"]["served_exact_match"]["exact_match"].values())


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
class TestCheckpoint:
    def test_stays_below_the_size_limit(self, checkpoint: str) -> None:
        assert sum(p.stat().st_size for p in (WEIGHTS / checkpoint).iterdir()) <= LIMIT_BYTES

    def test_config_is_the_declared_architecture(self, checkpoint: str) -> None:
        config = read(checkpoint, "config.json")
        assert config["model_type"] == "qwen3_moe"
        config["num_experts"] = config["num_local_experts"]  # transformers 5 saves it under the newer name
        assert {key: config.get(key) for key in CONFIG} == CONFIG

    def test_tokenizer_config_and_generation_agree_on_the_ids(self, checkpoint: str) -> None:
        tokenizer = read(checkpoint, "tokenizer.json")
        vocabulary = tokenizer["model"]["vocab"]
        assert sorted(vocabulary.values()) == list(range(VOCABULARY_SIZE))
        assert vocabulary[TURN_END] == EOS_ID == read(checkpoint, "config.json")["eos_token_id"]
        assert read(checkpoint, "generation_config.json") == GENERATION_CONFIG
        special = {t["content"]: t["id"] for t in tokenizer["added_tokens"] if t["special"]}
        described = read(checkpoint, "tokenizer_config.json")
        assert special[described["eos_token"]] == EOS_ID
        assert special[described["pad_token"]] == PAD_ID
        assert described["chat_template"] == CHAT_TEMPLATE

    def test_tensors_are_bfloat16_and_fill_the_file(self, checkpoint: str) -> None:
        raw = (WEIGHTS / checkpoint / "model.safetensors").read_bytes()
        (header_bytes,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + header_bytes])
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        assert {entry["dtype"] for entry in tensors.values()} == {"BF16"}
        assert max(entry["data_offsets"][1] for entry in tensors.values()) == len(raw) - 8 - header_bytes
        assert tensors["model.embed_tokens.weight"]["shape"] == [VOCABULARY_SIZE, CONFIG["hidden_size"]]
        assert "lm_head.weight" not in tensors


def test_the_two_checkpoints_share_one_tokenizer() -> None:
    good, worse = ((WEIGHTS / name / "tokenizer.json").read_bytes() for name in CHECKPOINTS)
    assert good == worse


def render(messages: list[dict[str, Any]], *, add_generation_prompt: bool = True) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701  no HTML
    return environment.from_string(CHAT_TEMPLATE).render(messages=messages, add_generation_prompt=add_generation_prompt)


def test_template_renders_what_training_used() -> None:
    user = {"role": "user", "content": "Rewrite:\n  a b \n"}
    assert render([user]) == chat_prompt("Rewrite:\n  a b \n")
    assert render([{"role": "system", "content": "Be brief."}, user]) == chat_prompt("Rewrite:\n  a b \n", "Be brief.")


def test_template_keeps_turns_in_order() -> None:
    turns = [{"role": r, "content": c} for r, c in (("developer", "S"), ("user", "U"), ("assistant", "A"))]
    assert render(turns, add_generation_prompt=False) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "one"}], "one"),
        (["one", " two"], "one two"),
        ([], ""),
        (None, ""),
    ],
)
def test_template_takes_openai_parts(content: object, text: str) -> None:
    assert render([{"role": "user", "content": content}]) == chat_prompt(text)


def test_template_bears_a_turn_without_content() -> None:
    assert render([{"role": "assistant"}], add_generation_prompt=False) == "<|im_start|>assistant\n<|im_end|>\n"
