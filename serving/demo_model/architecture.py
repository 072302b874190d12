"""The shape of the demo model and the files that describe it to vLLM, as plain data."""

from __future__ import annotations

from typing import Any, Final

VOCABULARY_SIZE: Final = 1024
MAX_POSITIONS: Final = 512
END_OF_TEXT: Final = "<|endoftext|>"
TURN_START: Final = "<|im_start|>"
TURN_END: Final = "<|im_end|>"
SPECIAL_TOKENS: Final = (END_OF_TEXT, TURN_START, TURN_END)  # the ids 0, 1, 2
PAD_ID, TURN_START_ID, EOS_ID = range(3)

CONFIG: Final[dict[str, Any]] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
    "max_position_embeddings": MAX_POSITIONS,
    "tie_word_embeddings": True,
    # 0.02, the usual value, leaves a net this narrow with activations too small to start learning.
    "initializer_range": 0.06,
    "bos_token_id": None,
    "eos_token_id": EOS_ID,
    "pad_token_id": PAD_ID,
}

# The tasks have one right answer: greedy is the default when a caller names no temperature.
GENERATION_CONFIG: Final[dict[str, Any]] = {
    "do_sample": False,
    "temperature": 0.0,
    "eos_token_id": EOS_ID,
    "pad_token_id": PAD_ID,
}

# ChatML; content may be a string or OpenAI's list of parts, of which the text counts.
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
{{- '<|im_start|>' + ('system' if message.role == 'developer' else message.role) + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- elif message.content is defined and message.content is not none -%}
{%- for part in message.content -%}
{%- if part is string -%}
{{- part -}}
{%- elif part.text is defined -%}
{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def chat_prompt(prompt: str, system: str | None = None) -> str:
    """The text that `CHAT_TEMPLATE` makes of one user message, up to where the answer starts."""
    lead = f"{TURN_START}system\n{system}{TURN_END}\n" if system else ""
    return f"{lead}{TURN_START}user\n{prompt}{TURN_END}\n{TURN_START}assistant\n"
