"""The language of a text, if a cheap look is enough to be sure: by its script, or by the commonest words of Latin ones.

The stop words are those of each language's twenty or so commonest that few of the others share, but for single letters
("i.e."). Languages of one script (Russian and Ukrainian, Arabic and Persian) are not told apart: whoever mistakes them
here is not told so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

from gateway.core.checks.words import words_of

LOOKED_AT_CHARS = 4_096
LETTERS_MIN = 12
_SCRIPT_RATIO = 0.6
_KANA_RATIO = 0.1
_HITS_MIN = 4
_HITS_RATIO = 0.12
_LEAD = 1.6

# First code point of each block, and what is written in it; a block ends where the next one begins.
_BLOCKS = (
    (0x0041, "latin"), (0x0250, ""), (0x0370, "greek"), (0x0400, "cyrillic"), (0x0530, ""), (0x0590, "hebrew"),
    (0x0600, "arabic"), (0x0700, ""), (0x0750, "arabic"), (0x0780, ""), (0x0900, "devanagari"), (0x0980, ""),
    (0x0E00, "thai"), (0x0E80, ""), (0x1100, "hangul"), (0x1200, ""), (0x1E00, "latin"), (0x1F00, "greek"),
    (0x2000, ""), (0x3040, "kana"), (0x3100, ""), (0x3400, "han"), (0x4DC0, ""), (0x4E00, "han"), (0xA000, ""),
    (0xAC00, "hangul"), (0xD7B0, ""), (0xF900, "han"), (0xFB00, ""), (0x20000, "han"), (0x32000, ""),
)  # fmt: skip
_STARTS = tuple(start for start, _ in _BLOCKS)

STOP_WORDS = {
    "en": "the and of to is that for it with was this are you have not be from they at which would please what their",
    "de": "der die und das ist nicht mit ein eine zu den von sich auf für dem des auch ich wird sind wie oder bitte",
    "fr": "le les et des est une du dans que pour pas qui sur avec vous nous sont ce cette au aux été votre être",
    "es": "el los las que en es por con para una del se como más pero su está son lo al muy este usted hay sin",
    "it": "il che di è per non una gli con sono del della più anche questo come nel alla ha dei le si ma delle può",
    "pt": "os que não uma para com é do da em mais como por dos das ao se seu você são está mas isso também foi",
    "nl": "het een van en de niet dat is op te zijn voor met aan die er maar ook als bij wordt naar deze heeft kan",
    "sv": "och att det som är en på för av inte med till den har ett om var jag vi kan från ska så men",
    "pl": "nie się na że to jest do jak ale za od przez są może dla po czy tego który oraz jego",
    "tr": "ve bir bu için ile da de çok olarak daha olan gibi en ne var değil kadar sonra ama veya her mi ben",
}  # fmt: skip
_STOP_WORDS = {language: frozenset(words.split()) for language, words in STOP_WORDS.items()}

NAMED = (
    "translat", "übersetz", "tradu", "vertaal", "översätt", "przetłumacz", "tłumacz", "çevir", "перевед", "перевод",
    "翻译", "翻譯", "翻訳", "번역", "ترجم", "अनुवाद", "english", "german", "french", "spanish", "italian",
    "portuguese", "dutch", "swedish", "polish", "turkish", "russian", "chinese", "mandarin", "japanese", "korean",
    "arabic", "hebrew", "hindi", "greek", "thai", "ukrainian", "language", "englisch", "deutsch", "französisch",
    "spanisch", "italienisch", "sprache", "anglais", "allemand", "français", "espagnol", "langue", "inglés", "alemán",
    "francés", "español", "idioma", "inglese", "tedesco", "francese", "lingua", "inglês", "alemão", "engels", "duits",
    "engelska", "angielsk", "niemieck", "английск", "русск", "немецк", "язык", "英语", "英文", "中文", "日文", "日语",
    "德语", "法语", "英語", "日本語", "中国語", "영어", "한국어", "일본어", "중국어", "الإنجليزية", "العربية",
)  # fmt: skip


def language_of(text: str) -> str | None:
    """A language ("en") or a script that stands for some ("cyrillic"); None if that is not sure. Code is left out."""
    prose = " ".join(text[:LOOKED_AT_CHARS].split("```")[::2])
    scripts: Counter[str] = Counter()
    for letter, count in Counter(prose).items():
        if letter.isalpha():
            scripts[_script(letter)] += count
    letters = scripts.total()
    if letters < LETTERS_MIN:
        return None
    if scripts["kana"] >= _KANA_RATIO * letters and scripts["kana"] + scripts["han"] > _SCRIPT_RATIO * letters:
        return "ja"
    script, count = scripts.most_common(1)[0]
    if count <= _SCRIPT_RATIO * letters or not script:
        return None
    return _latin(prose) if script == "latin" else script


def names_a_language(text: str) -> bool:
    """Whether it speaks of languages or of translating, so that an answer in another one may be what was asked for."""
    small = text.casefold()
    return any(word in small for word in NAMED)


def _script(letter: str) -> str:
    place = bisect_right(_STARTS, ord(letter)) - 1
    return _BLOCKS[place][1]


def _latin(prose: str) -> str | None:
    """By stop words: enough of them, and clearly more than of any other language."""
    words = words_of(prose)
    counts = Counter(words)
    hits = {language: sum(counts[word] for word in known) for language, known in _STOP_WORDS.items()}
    (language, most), (_, second) = Counter(hits).most_common(2)
    sure = most >= max(_HITS_MIN, _HITS_RATIO * len(words)) and most >= _LEAD * second
    return language if sure else None
