from loadtests.simulator.logprobs import chat_logprobs, text_logprobs


def test_chat_tokens_have_their_bytes_and_the_chosen_one_leads_the_alternatives() -> None:
    (token,) = chat_logprobs(("é",), 2)["content"]
    assert bytes(token["bytes"]) == "é".encode()
    assert token["top_logprobs"][0]["token"] == token["token"]
    assert token["top_logprobs"][0]["logprob"] == token["logprob"] > token["top_logprobs"][1]["logprob"]
    assert chat_logprobs(("a",), 0)["content"][0]["top_logprobs"] == []


def test_text_tokens_are_parallel_lists() -> None:
    found = text_logprobs(("He", "llo"), 2)
    assert (found["tokens"], found["text_offset"]) == (["He", "llo"], [0, 2])
    assert len(found["token_logprobs"]) == len(found["top_logprobs"]) == 2
    assert text_logprobs(("a",), 0)["top_logprobs"] is None
    assert text_logprobs((), 0)["text_offset"] == []
