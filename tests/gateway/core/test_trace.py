import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.trace import IDS_BYTES, Trace, trace_of, traceparent_of

IDS = bytes(range(1, IDS_BYTES + 1))
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def sent(flags: str = "01", version: str = "00", more: str = "") -> bytes:
    return f"{version}-{TRACE}-{SPAN}-{flags}{more}".encode()


@pytest.mark.parametrize("header", [sent(), sent("03"), sent(version="01"), sent(version="cc", more="-what-comes")])
def test_a_callers_trace_is_joined(header: bytes) -> None:
    assert trace_of(header, IDS, sampled=False) == Trace(TRACE, IDS[16:].hex(), SPAN)


@pytest.mark.parametrize("flags", ["00", "02"])
def test_a_callers_no_is_heeded(flags: str) -> None:
    assert trace_of(sent(flags), IDS, sampled=True) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"nonsense",
        sent().upper(),
        sent(more="-x"),
        sent(version="ff"),
        sent().replace(TRACE.encode(), b"0" * 32),
        sent().replace(SPAN.encode(), b"0" * 16),
        sent() + b"\n",
        b" " + sent(),
    ],
)
def test_without_a_valid_one_the_draw_decides(header: bytes | None) -> None:
    assert trace_of(header, IDS, sampled=False) is None
    assert trace_of(header, IDS, sampled=True) == Trace(IDS[:16].hex(), IDS[16:].hex(), "")


@given(st.binary(max_size=80))
def test_no_header_breaks_it(header: bytes) -> None:
    trace = trace_of(header, IDS, sampled=True)
    assert trace is None or (len(trace.trace_id), len(trace.span_id)) == (32, 16)


@given(st.binary(min_size=IDS_BYTES, max_size=IDS_BYTES).filter(lambda ids: any(ids[:16]) and any(ids[16:])))
def test_what_the_upstream_gets_makes_it_a_child(ids: bytes) -> None:
    own = trace_of(sent(), ids, sampled=False)
    assert own is not None
    child = trace_of(traceparent_of(own), IDS, sampled=False)
    assert child == Trace(own.trace_id, IDS[16:].hex(), own.span_id)
