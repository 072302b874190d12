"""Sure, or silent."""
# ruff: noqa: E501, RUF001  sentences stay whole; letters of other scripts are meant

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.language import STOP_WORDS, language_of, names_a_language

TEXTS = {
    "en": "Could you please send me the figures for the third quarter? They are not in the folder that you shared with us.",
    "de": (
        "Könnten Sie mir bitte die Zahlen für das dritte Quartal schicken? Sie sind nicht in dem Ordner, "
        "der uns vorliegt."
    ),
    "fr": "Pourriez-vous nous envoyer les chiffres du troisième trimestre ? Ils ne sont pas dans le dossier que vous avez partagé.",
    "es": (
        "¿Podría enviarnos los números del tercer trimestre? No están en la carpeta que se compartió con el equipo, "
        "pero son para hoy."
    ),
    "it": (
        "Potrebbe inviarmi i dati del terzo trimestre? Non sono nella cartella che è stata condivisa con il gruppo, "
        "e anche questo non va."
    ),
    "pt": (
        "Você pode enviar os números do terceiro trimestre? Eles não estão na pasta que foi partilhada com a equipa, "
        "mas são para hoje."
    ),
    "nl": (
        "Kun je mij de cijfers van het derde kwartaal sturen? Ze zijn niet te vinden in de map die je met ons deelt, "
        "maar dat is voor nu."
    ),
    "sv": (
        "Kan du skicka siffrorna för tredje kvartalet till mig? De är inte i den mapp som du delade med oss, "
        "och det var bråttom."
    ),
    "pl": "Czy możesz wysłać mi dane za trzeci kwartał? Nie ma ich w folderze, który jest dla nas, ale to może poczekać do jutra.",
    "tr": (
        "Bu ay için rakamları bana gönderir misin? Klasörde değil ve çok acil, ama yarın da olabilir, "
        "daha sonra ne olarak kalır."
    ),
    "cyrillic": "Не могли бы вы прислать цифры за третий квартал?",
    "greek": "Μπορείτε να στείλετε τα στοιχεία του τρίτου τριμήνου;",
    "arabic": "هل يمكنك إرسال أرقام الربع الثالث من فضلك؟",
    "hebrew": "האם תוכל לשלוח לי את הנתונים של הרבעון השלישי?",
    "han": "请把第三季度的数字发给我，它们不在您共享的文件夹里。",
    "ja": "第3四半期の数字を送っていただけますか。共有フォルダには入っていません。",
    "hangul": "삼분기 수치를 보내 주시겠습니까? 공유 폴더에 없습니다.",
    "thai": "ช่วยส่งตัวเลขไตรมาสที่สามให้หน่อยได้ไหม",
    "devanagari": "क्या आप तीसरी तिमाही के आंकड़े भेज सकते हैं?",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_sentence_or_two_are_enough(language: str) -> None:
    assert language_of(TEXTS[language]) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK",
        "Falcon Q3 14:00 Anna Berlin",
        "```\nfor it in that: if not is_the(this): return with_the(that)\n```",
        "Ⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿ",
        "The Zahlen für das Quartal and the report is not mit dem team für you",
        "Москва Berlin Ереван Paris Одесса London",
    ],
)
def test_no_verdict_without_being_sure(text: str) -> None:
    assert language_of(text) is None


def test_who_speaks_of_a_language_may_get_another_one() -> None:
    assert names_a_language("Please TRANSLATE this")
    assert names_a_language("Antworte auf Englisch")
    assert names_a_language("请翻译成英文")
    assert not names_a_language("Rewrite politely: send me the numbers")


def test_stop_words_are_listed_once_for_each_language() -> None:
    for language, words in STOP_WORDS.items():
        assert len(set(words.split())) == len(words.split()), language


@given(st.text())
def test_any_text_has_a_known_answer(text: str) -> None:
    known = {
        None,
        "ja",
        "kana",
        "hangul",
        "han",
        "greek",
        "cyrillic",
        "hebrew",
        "arabic",
        "devanagari",
        "thai",
        *STOP_WORDS,
    }
    assert language_of(text) in known
