"""Byte-level BPE with split digits, trained on the tasks' own text; runs in the vLLM environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from serving.demo_model.architecture import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    MAX_POSITIONS,
    SPECIAL_TOKENS,
    TURN_END,
    VOCABULARY_SIZE,
    chat_prompt,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from serving.demo_model.tasks import Sample

TOKENIZER_CONFIG: Final[dict[str, Any]] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": MAX_POSITIONS,
    "eos_token": TURN_END,
    "pad_token": END_OF_TEXT,
    "clean_up_tokenization_spaces": False,
    "chat_template": CHAT_TEMPLATE,
}


def train_tokenizer(texts: Iterable[Sample]) -> Any:  # noqa: ANN401  tokenizers is not installed where types are checked
    """A tokenizer of `VOCABULARY_SIZE` entries. Any text can be encoded: all 256 bytes are in it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((chat_prompt(s.prompt) + s.reference for s in texts), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Any, directory: Path) -> None:  # noqa: ANN401  as above
    """Write the three files from which vLLM loads tokenizer and chat template."""
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2) + "\n", encoding="utf-8")
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
