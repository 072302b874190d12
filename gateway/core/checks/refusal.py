"""Whether an answer refuses to answer, from how it begins.

Lists of such beginnings come from attacks on models (Zou et al. 2023, "Universal and Transferable Adversarial Attacks
on Aligned Language Models") and from scanners (garak's `detectors.mitigation`), but those look for "I'm sorry" or "I
cannot" anywhere. Here that would be wrong: a drafted e-mail begins "I'm sorry, but I can't come on Friday". So an
apology alone is none; there must be an assistant's own words after it ("... help with that", "as an AI"). Phrases are
plain beginnings, in the twelve languages that partners' models refuse in most.
"""
# ruff: noqa: RUF001  letters of other scripts are meant

from __future__ import annotations

from gateway.core.checks.words import plain

HEAD_CHARS = 400
_OPENERS_MAX = 4

OPENERS = (
    "i'm sorry", "i am sorry", "i'm really sorry", "i'm very sorry", "i'm so sorry", "i'm afraid", "i am afraid",
    "sorry",
    "i apologize", "i apologise", "my apologies", "apologies", "unfortunately", "but", "however", "that", "no",
    "for that",
    "for the confusion", "thank you for asking", "i understand",
    "es tut mir leid", "tut mir leid", "leider", "entschuldigung", "aber", "dass",
    "je suis désolé", "je suis désolée", "désolé", "désolée", "je regrette", "malheureusement", "mais",
    "lo siento", "lo lamento", "disculpa", "disculpe", "perdón", "lamentablemente", "pero",
    "mi dispiace", "sono spiacente", "purtroppo", "ma",
    "desculpe", "desculpa", "sinto muito", "lamento", "infelizmente", "mas",
    "het spijt me", "sorry maar", "helaas", "maar",
    "przykro mi", "przepraszam", "niestety", "ale",
    "извините", "прости", "простите", "к сожалению", "мне жаль", "но",
    "很抱歉", "非常抱歉", "抱歉", "对不起", "對不起", "不好意思", "但是", "但",
    "申し訳ありませんが", "申し訳ございませんが", "申し訳ありません", "申し訳ございません", "すみませんが",
    "恐れ入りますが",
    "죄송하지만", "죄송합니다만", "죄송합니다", "미안하지만",
)  # fmt: skip

_CANNOT = (
    "i can't", "i cannot", "i can not", "i won't", "i will not", "i'm unable to", "i am unable to", "i'm not able to",
    "i am not able to", "i must decline to", "i have to decline to", "i'm not allowed to", "i am not allowed to",
    "i'm not comfortable", "i am not comfortable",
)  # fmt: skip
_HELP = (
    "help with", "help you with", "assist", "comply", "fulfill", "fulfil", "provide", "answer that", "answer this",
    "discuss", "engage", "support that", "support this", "continue with this", "do that", "create content", "generate",
    "participate", "process this request", "complete this request", "write that", "write this", "share that",
    "with that", "with this",
)  # fmt: skip

REFUSALS = (
    *(f"{cannot} {verb}" for cannot in _CANNOT for verb in _HELP),
    "i must decline", "i must respectfully decline", "i must refuse", "i refuse to", "i can't help", "i cannot help",
    "ich kann dir dabei nicht", "ich kann ihnen dabei nicht", "ich kann dabei nicht",
    "ich kann bei dieser anfrage nicht",
    "ich kann diese anfrage nicht", "ich kann dieser anfrage nicht", "dabei kann ich nicht helfen",
    "dabei kann ich dir nicht helfen", "dabei kann ich ihnen nicht helfen", "ich darf diese",
    "ich kann das nicht beantworten",
    "ich kann ihnen nicht helfen", "ich kann dir nicht helfen", "ich kann nicht dabei helfen",
    "kann ich ihnen dabei nicht",
    "kann ich dir dabei nicht", "kann ich diese anfrage nicht", "kann ich dabei nicht",
    "je ne peux pas vous aider", "je ne peux pas t'aider", "je ne peux pas répondre à cette",
    "je ne peux pas répondre à ce",
    "je ne peux pas fournir", "je ne suis pas en mesure de", "je ne peux pas accéder à cette demande",
    "no puedo ayudar", "no puedo asistir", "no puedo proporcionar", "no puedo responder a", "no puedo cumplir con",
    "no me es posible ayudar",
    "non posso aiutar", "non posso fornire", "non posso rispondere a quest", "non sono in grado di aiutar",
    "não posso ajudar", "não posso fornecer", "não posso responder a ess", "não consigo ajudar", "não posso auxiliar",
    "ik kan je daar niet mee helpen", "ik kan u daar niet mee helpen", "ik kan je hier niet mee helpen",
    "ik kan daar niet bij helpen", "ik kan niet helpen met", "ik kan niet voldoen aan",
    "nie mogę pomóc", "nie mogę w tym pomóc", "nie mogę ci w tym pomóc", "nie mogę spełnić",
    "nie mogę odpowiedzieć na to",
    "я не могу помочь", "не могу помочь", "я не могу выполнить", "я не могу предоставить",
    "я не могу ответить на этот",
    "я не могу обсуждать", "не могу с этим помочь", "я не могу с этим помочь",
    "我无法提供", "我无法回答", "我无法协助", "我无法帮助", "我无法满足", "我不能提供", "我不能回答", "我不能协助",
    "我不能帮助",
    "无法回答", "无法提供", "無法回答", "無法提供", "我無法", "我没有办法帮", "我无法完成这个", "我无法处理",
    "そのご要望には", "そのリクエストには", "そのご質問には", "その質問にはお答え", "その依頼には",
    "ご要望にはお応え", "お手伝いできません",
    "お答えできません", "そのような内容", "そのようなリクエスト", "それについてはお答え", "それはできません",
    "그 요청은", "해당 요청", "이 요청", "그 질문에는 답변", "도와드릴 수 없", "도움을 드릴 수 없",
    "답변해 드릴 수 없", "제공해 드릴 수 없",
)  # fmt: skip

_SELF = (
    "as an ai", "as a language model", "as a large language model", "as an assistant", "i'm an ai", "i am an ai",
    "i'm just an ai", "als ki", "als ein ki", "als sprachmodell", "en tant qu'ia", "en tant que modèle de langage",
    "en tant qu'intelligence artificielle", "como ia", "como modelo de lenguaje", "como una ia",
    "como modelo de linguagem",
    "come ia", "come modello linguistico", "als ai", "als taalmodel", "jako model językowy", "как языковая модель",
    "как искусственный интеллект", "作为一个人工智能", "作为人工智能", "作为一个ai", "作为ai", "作为一个语言模型",
    "aiとして", "私はaiなので", "ai로서", "인공지능으로서", "저는 ai",
)  # fmt: skip
_UNABLE = (
    "can't", "cannot", "can not", "unable", "not able", "don't have", "do not have", "won't", "kann ich nicht",
    "nicht in der lage",
    "kann nicht", "darf ich nicht", "habe ich keine", "ne peux pas", "ne suis pas en mesure", "n'ai pas", "no puedo",
    "no tengo", "non posso",
    "não posso", "não tenho", "kan ik niet", "ik kan geen", "nie mogę", "не могу", "无法", "不能", "できません",
    "수 없",
)  # fmt: skip
_MARKS = " \t,.;:!—–-*_#>\"'、。，！：…"


def refuses(text: str) -> bool:
    """Whether the beginning says that there will be no answer. An empty text refuses nothing."""
    head = plain(text[:HEAD_CHARS]).lstrip(_MARKS)
    for _ in range(_OPENERS_MAX + 1):
        if head.startswith(REFUSALS):
            return True
        if head.startswith(_SELF):
            return any(word in head for word in _UNABLE)
        opener = next((each for each in _LONGEST_FIRST if head.startswith(each)), None)
        rest = head if opener is None else head[len(opener) :]
        if opener is None or (rest[:1].isalnum() and opener.isascii()):
            return False
        head = rest.lstrip(_MARKS)
    return False


_LONGEST_FIRST = tuple(sorted(OPENERS, key=len, reverse=True))
