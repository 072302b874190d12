"""Several requests on one connection before the first has been answered."""

TYPE = b"content-type: text/plain\r\n"
FEED_MAX = 1_024


async def test_pipelined_requests_of_both_kinds_are_answered_in_order(serve, echo, describe) -> None:
    caller = await (await serve(echo, describe)).caller()
    for round_ in range(5):
        caller.post(b"relay %d a" % round_)
        caller.get(f"/app/{round_}/a")
        caller.get(f"/app/{round_}/b")
        caller.post(b"relay %d b" % round_, path="/v1/completions")
        caller.post(b"relay %d c" % round_)
    got = [await caller.answer() for _ in range(25)]
    shown = [answer.json["path"] if answer.body.startswith(b"{") else answer.body.decode() for answer in got]
    assert shown == [
        text
        for n in range(5)
        for text in (f"relay {n} a", f"/app/{n}/a", f"/app/{n}/b", f"relay {n} b", f"relay {n} c")
    ]


async def test_a_pipelined_request_waits_for_the_answer_before_it(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    caller.post(b"second")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"1")
    accepted[0].send(b"2")
    await caller.head()
    assert [await caller.chunk(), await caller.chunk()] == [b"1", b"2"]
    assert len(accepted) == 1
    accepted[0].finish()
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"done")
    assert await caller.chunk() == b""
    assert (await caller.answer()).body == b"done"


async def test_a_large_body_in_line_arrives_whole_and_once(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    large = b"x" * 900_000
    caller.post(b"first")
    caller.post(large)
    await until(lambda: accepted)
    accepted[0].respond(200, TYPE, b"1")
    await until(lambda: len(accepted) > 1)
    assert accepted[1].body == large
    accepted[1].respond(200, TYPE, b"2")
    assert [(await caller.answer()).body for _ in range(2)] == [b"1", b"2"]
    assert len(accepted) == 2


async def test_a_pipelined_expectation_is_met_in_its_turn(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    caller.post(b"second", "expect: 100-continue")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"1")
    accepted[0].finish(b"2")
    answer = await caller.answer()
    assert (answer.interim, answer.body) == (0, b"12")


async def test_a_head_that_follows_a_large_body_is_not_too_large(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    body = b"x" * 120_000
    caller.send(
        b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%bPOST /v1/comp" % (len(body), body)
    )
    await until(lambda: accepted)
    accepted[0].respond(200, TYPE, b"1")
    caller.send(b"letions HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
    await until(lambda: len(accepted) == 2 or caller.reader.at_eof())
    assert len(accepted) == 2


async def test_a_body_in_line_that_is_too_large_is_refused_in_its_turn(serve, until, accepted) -> None:
    caller = await (await serve(accepted, body_max_bytes=FEED_MAX)).caller()
    caller.post(b"first")
    caller.post(b"x" * (FEED_MAX * 2))
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun ")
    accepted[0].finish(b"ended")
    assert (await caller.answer()).body == b"begun ended"
    assert (await caller.answer()).status == 413
    assert len(accepted) == 1


async def test_nonsense_behind_a_request_is_refused_behind_its_answer(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    caller.post(b"second")
    caller.send(b"nonsense\r\n\r\n")
    for turn in range(2):
        await until(lambda turn=turn: len(accepted) > turn)
        accepted[turn].respond(200, TYPE, b"%d" % turn)
    assert [(await caller.answer()).body for _ in range(2)] == [b"0", b"1"]
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (400, "bad_http")
    assert await caller.rest() == b""
