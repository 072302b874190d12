"""Other people's words inside a prompt: nothing in them may pass for ours, or for a turn of the conversation.

Three things are done to every quoted text, alike for both answers: its middle is left out if it is too long, what a
model's tokenizer could take for the border of a turn is spelt differently, and it stands between lines that hold a
mark nobody could know when the text was written.
"""

from __future__ import annotations

import re

FENCE = re.compile(r"[0-9a-f]{32}")
"""A mark: drawn at random for each question."""
_HEAD_PARTS = 2
_PARTS = 3
# <|im_end|> and the like of ChatML, Llama 3, Phi, gpt-oss, GLM; DeepSeek's with a wide bar; </s>; Gemma's; [/INST].
_BORDERS = re.compile(
    r"<(?=[|\uff5c]|/?s>|(?:start|end)_of_turn>|/?(?:bos|eos|pad|unk)>)|\[(?=/?INST\])", re.IGNORECASE
)
_SPELT = {"<": "\u2039", "[": "\u27e6"}


def quoted(title: str, text: str, fence: str, max_chars: int) -> str:
    """`text` between two lines that hold the mark; `title` says what it is."""
    return f"{fence} {title} begins\n{defused(cut_middle(text, fence, max_chars))}\n{fence} {title} ends"


def cut_middle(text: str, fence: str, max_chars: int) -> str:
    """At most `max_chars` of it, beginning and end, and between them a line that says with our mark what is missing."""
    if len(text) <= max_chars:
        return text
    head = max_chars * _HEAD_PARTS // _PARTS
    tail = max_chars - head
    return f"{text[:head]}\n[{fence}: {len(text) - max_chars} characters left out]\n{text[len(text) - tail :]}"


def defused(text: str) -> str:
    """The same text, no part of which a chat template uses for itself; no character is added or lost."""
    return _BORDERS.sub(lambda found: _SPELT[found[0]], text)
