"""The path: one fact, kept where the state changes, and equal to the long condition whatever happened."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple import fast_path
from fourtuple.errors import ConnectionBusy, ConnectionEnded, FourTupleError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import parse_framing
from fourtuple.options import Limits
from fourtuple.rates.throttle import Throttle
from fourtuple.stream import Half, Layer, Path, Stream, checking
from fourtuple.stream.rare import Rare
from fourtuple.stream.state import State
from sources import READS_ALL, SOURCE, paths, tree

NAME = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)


class Open(Layer):
    """A layer that lets everything pass, once it has seen an octet."""

    def received(self, data: bytes, now: float) -> bytes:
        self.established = True
        return data

    def write(self, octets: bytes) -> None:
        pass


def make(framing: str = "line", **limits: int) -> Stream:
    return Stream(parse_framing(framing), NAME, Limits(**limits), 0.0)


def rates(stream: Stream) -> Throttle:
    return Throttle(Limits(max_message_rate=5.0), lambda: 0.0, lambda _: None, lambda: True)


def unasked(stream: Stream) -> None:
    stream.request(b"question")


#: Whatever may happen to a stream, in an order that nobody has thought of.
HAPPENINGS: dict[str, Callable[[Stream], object]] = {
    "a read": lambda stream: stream.received(b"a\nb\nc\n", 1.0) if stream.wants_read else None,
    "half a message": lambda stream: stream.received(b"half", 1.0) if stream.wants_read else None,
    "too much": lambda stream: stream.received(b"x" * 40, 1.0) if stream.wants_read else None,
    "end of file": lambda stream: stream.received_eof(1.0),
    "a message is taken": lambda stream: stream.take_message(),
    "replenish": lambda stream: stream.replenish(),
    "octets are taken": lambda stream: stream.take_some(2),
    "octets are put back": lambda stream: stream.unread(b"back\n"),
    "another framing": lambda stream: stream.change_framing(parse_framing("line,max_message=30")),
    "a framing with a gap": lambda stream: stream.change_framing(parse_framing("gap:0.1")),
    "silence": lambda stream: stream.silence(2.0) if stream.gap_at is not None and stream.wants_read else None,
    "a request": unasked,
    "sent": lambda stream: stream.send(b"reply"),
    "written": lambda stream: stream.sent(len(stream.outgoing()), 1.0) if stream.outbox_size else None,
    "half-close": lambda stream: stream.end_writing(),
    "paused": lambda stream: stream.paused(1.0),
    "resumed": lambda stream: stream.resumed(2.0),
    "watched": lambda stream: stream.be_watched(lambda _stream, _inward, _octets: None),
    "watched no more": lambda stream: stream.be_watched(None),
    "throttled": lambda stream: stream.be_throttled(rates(stream)),
    "throttled no more": lambda stream: stream.be_throttled(None),
    "TLS": lambda stream: stream.start_tls(Open(1.0)),
    "handed on": lambda stream: stream.handed_on(),
    "taken back": lambda stream: stream.taken_back(),
    "close": lambda stream: stream.close(),
    "lost": lambda stream: stream.lost(ConnectionResetError()),
    "a write failed": lambda stream: stream.write_lost(BrokenPipeError()),
}
#: After these nothing comes back; they would make most examples short.
LAST = {"close", "lost", "a write failed", "end of file", "half-close"}


def happen(stream: Stream, what: str) -> None:
    try:
        HAPPENINGS[what](stream)
    except (FourTupleError, ConnectionBusy, ConnectionEnded):
        pass  # it cannot be done now


@given(st.lists(st.sampled_from(sorted(HAPPENINGS)), max_size=12), st.integers(1, 3))
def test_the_path_is_the_long_condition_whatever_happened(order: list[str], max_batch: int) -> None:
    stream = make("line,max_message=20", max_batch=max_batch)
    for what in order:
        happen(stream, what)
        checking.check(stream, stream.path)
        if not stream.inbox:
            stream.replenish()
            assert stream.path is stream.judged(), what
            # So a read may be taken as one message without asking the decoder what it holds: see feed().
            assert stream.path is Path.SPECIAL or stream.message_since is not None or not stream.decoder.buffered


@given(st.lists(st.sampled_from(sorted(set(HAPPENINGS) - LAST)), max_size=12))
def test_whatever_is_special_comes_to_an_end(order: list[str]) -> None:
    """Nothing that is over leaves a connection on the long way (a request does: a client has more of them)."""
    stream = make()
    for what in order:
        happen(stream, what)
    if stream.requested or stream.read_error is not None or stream.writing is not Half.OPEN:
        return
    stream.be_throttled(None)
    stream.be_watched(None)
    stream.resumed(3.0)
    while stream.inbox:
        stream.inbox.pop()
    if stream.layer is not None and not stream.layer.established:
        stream.received(b"hello\n", 3.0)
    stream.change_framing(parse_framing("line"))
    while stream.replenish():
        stream.inbox.clear()
    wanted = Path.PLAIN if stream.layer is None else Path.LAYERED
    assert stream._requests is not None or stream.path is wanted


@pytest.mark.parametrize("what", sorted(HAPPENINGS))
def test_what_makes_a_plain_stream_special(what: str) -> None:
    stream = make("line", max_batch=10)
    assert stream.path is Path.PLAIN
    happen(stream, what)
    special = {
        "end of file", "octets are taken", "octets are put back", "a framing with a gap", "a request", "half-close",
        "paused", "watched", "throttled", "TLS", "handed on", "taken back", "close", "lost", "a write failed",
    } - {"taken back"}  # fmt: skip
    assert (stream.path is Path.SPECIAL) == (what in special)


def test_a_full_batch_is_special_until_what_is_held_is_cut() -> None:
    stream = make("line", max_batch=2)
    stream.received(b"a\nb\nc\nhal", 1.0)
    assert (stream.path, stream.wants_read) == (Path.SPECIAL, False)
    assert [stream.take_message() for _ in range(3)] == [b"a", b"b", b"c"]
    assert (stream.path, stream.wants_read, stream.message_since) == (Path.PLAIN, True, 1.0)


def test_a_wrong_path_is_seen() -> None:
    stream = make()
    checking.check(stream, stream.path)
    stream.closing = True
    with pytest.raises(checking.WrongPath, match="is plain, and ought to be special"):
        checking.check(stream, Path.PLAIN)


# -- nobody else writes the fields ------------------------------------------------------------------------

FIELDS = {
    *State.__slots__,
    *fast_path.TWINS["StreamFields"].__dict__["__slots__"],
    *(name for name, value in vars(State).items() if isinstance(value, Rare | property)),
}


def written_outside() -> list[str]:
    """Where a field of a stream is written by others; a stream is what is called so."""
    found = []
    for file in paths():
        if file.parent.name == "stream":
            continue
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store | ast.Del):
                continue
            if node.attr in FIELDS and ast.unparse(node.value).rpartition(".")[2] in ("stream", "_stream"):
                found.append(f"{file.relative_to(SOURCE)}:{node.lineno} writes {ast.unparse(node)}")
    return found


@READS_ALL
def test_no_other_code_writes_a_field_of_a_stream() -> None:
    assert written_outside() == []
    assert {"inbox", "path", "held_back", "finishing"} <= FIELDS  # else nothing was looked for
