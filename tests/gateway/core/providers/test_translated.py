import pytest

from gateway.core.errors import ApiError
from gateway.core.events import EVENT_MAX_BYTES, StreamTooLargeError
from gateway.core.providers.translated import Translated, UnreadableEventError


class Echo(Translated):
    """Words pass, `bad` can't be read, `stop` is why it ends, `end` is the end."""

    operation = "chat"
    _stopped = False

    def _take(self, payload: bytes) -> bytes:
        if payload == b"bad":
            raise UnreadableEventError
        if payload == b"end":
            return self._finish()
        if payload == b"fails":
            return self._fail(None)
        self._stopped = payload == b"stop"
        return payload

    def _finish(self) -> bytes:
        self._closed = True
        return b"!"

    def _is_finished(self) -> bool:
        return self._stopped


def run(*reads: bytes) -> tuple[bytes, bytes, bool]:
    view = Echo()
    return b"".join(view.feed(read) for read in reads), view.end(), view.error_seen


@pytest.mark.parametrize(
    ("stream", "seen"),
    [
        (b"data: a\n\ndata: b\n\ndata: end\n\ndata: late\n\n", (b"ab!", b"", False)),
        (b": comment\n\ndata: a\n\n", (b"a", b"", False)),
        (b"data: stop\n\n", (b"stop", b"!", False)),
        (b"data: end", (b"", b"!", False)),
        (b"data: stop", (b"", b"stop!", False)),
        (b"data: bad", (b"", b"", False)),
        (b": comment", (b"", b"", False)),
        (b"data: end\n\ndata: late", (b"!", b"", False)),
    ],
)
def test_how_streams_end(stream: bytes, seen: tuple[bytes, bytes, bool]) -> None:
    assert run(stream) == seen
    whole = seen[0] + seen[1]
    for cut in range(len(stream)):
        out, rest, error = run(stream[:cut], stream[cut:])
        assert (out + rest, error) == (whole, seen[2])


@pytest.mark.parametrize(("word", "code"), [(b"bad", b"upstream_bad_event"), (b"fails", b"upstream_error")])
def test_nothing_follows_an_error(word: bytes, code: bytes) -> None:
    out, rest, error = run(b"data: a\n\ndata: %b\n\ndata: end\n\n" % word)
    assert out.startswith(b'adata: {"error":{')
    assert code in out
    assert (rest, error) == (b"", True)


def test_the_event_of_a_broken_stream() -> None:
    assert Echo().error_event(ApiError(502, "broke", "server_error")).startswith(b'data: {"error":{"message":"broke"')


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(StreamTooLargeError):
        Echo().feed(b"data: " + b"x" * EVENT_MAX_BYTES)


def test_a_translation_must_say_how() -> None:
    view = Translated()
    with pytest.raises(NotImplementedError):
        view.feed(b"data: a\n\n")
    with pytest.raises(NotImplementedError):
        view.end()
    with pytest.raises(NotImplementedError):
        view._finish()
