"""Refusals in twelve languages; and letters of refusal, which are answers."""
# ruff: noqa: RUF001  letters of other scripts are meant

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.refusal import HEAD_CHARS, refuses

REFUSALS = [
    "I can't help with that.",
    "I\u2019m sorry, but I can\u2019t assist with that request.",
    "I'm sorry, I am unable to provide instructions for this.",
    "**Sorry** — I cannot comply with this.",
    "Unfortunately, I'm not able to engage in that topic.",
    "As an AI language model, I cannot browse the internet.",
    "I apologize, but as an AI I don't have access to your calendar.",
    "I must decline.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Leider kann ich diese Anfrage nicht bearbeiten.",
    "Als KI kann ich nicht in die Zukunft sehen.",
    "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "Désolée, je ne suis pas en mesure de répondre.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Desculpe, mas não posso ajudar com isso.",
    "Het spijt me, maar ik kan je daar niet mee helpen.",
    "Przykro mi, ale nie mogę pomóc w tej sprawie.",
    "К сожалению, я не могу помочь с этим запросом.",
    "很抱歉，我无法提供相关信息。",
    "申し訳ありませんが、そのご質問にはお答えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
]
ANSWERS = [
    "",
    "I'm sorry, but I can't come to the meeting on Friday.",
    "Sorry for the late reply! Here are the numbers.",
    "Unfortunately the order has not left our warehouse yet.",
    "I cannot thank you enough for your support last week.",
    "As an AI company, we build assistants.",
    "Noted. The report says: I can't help with that.",
    "Es tut mir leid, dass ich am Freitag nicht kommen kann.",
    "Lo siento, pero no puedo ir a la reunión del viernes.",
    "Je suis désolé de vous répondre si tard.",
    "К сожалению, поезд опоздал.",
    "抱歉，会议改到星期五。",
    "Sorry, sorry, sorry, sorry, sorry, sorry, but I can't help with that.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text: str) -> None:
    assert refuses(text)
    assert refuses(text.upper()) or not text.isascii()


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_that_only_sound_like_one(text: str) -> None:
    assert not refuses(text)


@given(st.text(), st.sampled_from(REFUSALS))
def test_only_the_beginning_counts(text: str, refusal: str) -> None:
    assert not refuses("Here you are: " + "x" * HEAD_CHARS + text + refusal)
    assert refuses(refusal + " " + text)
