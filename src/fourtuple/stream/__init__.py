"""One connection without its socket: every decision about a conversation that needs no I/O.

The engine and the blocking connection move octets in (:meth:`Stream.received`, :meth:`Stream.received_eof`) and out
(:meth:`Stream.outgoing`, :meth:`Stream.sent`). What the octets mean is decided here, once. The current time is an
argument.

The two directions end independently: half_close.py has the diagram. ``close()`` ends writing and discards everything
that still arrives. Otherwise the kernel would answer the peer's last octets with an RST, which would destroy our last
reply (RFC 2525, 2.17).

**Batches.** Each read is decoded completely. Its messages wait in the inbox, and the decoder keeps their octets until
the last message is delivered. A caller that changes the framing or asks for raw octets before that gets exactly the
octets of the messages that are not delivered yet.

**Layers.** A :class:`Layer` may stand between the wire and the decoder: a PROXY header at the beginning, or TLS. The
outbox and all counters still count the octets of the wire. A stream without a layer costs one comparison.

**Parts.** State is the record, and six mix-ins work on it side by side. None of them inherits from another, and one
that calls another declares what it calls under ``TYPE_CHECKING``::

    Stream        stream.py        all parts together; changes of the conversation, the end
      Layered       layered.py       octets in, through the layers
      Inbound       inbound.py       the decoder, the inbox, receiving
      Unframed      unframed.py      octets instead of messages
      Outbound      outbound.py      the outbox
      Backpressure  backpressure.py  when reading stops and resumes, and when senders wait
      HalfClose     half_close.py    how each direction ends by a FIN
    State         state.py         the record; the path, which says what has to be checked for each message; when the
                                   peer was last active; properties for observers
    Requests      requests.py      which request gets which reply; created with the first request
    Raw           raw.py           undecoded octets; exists only while there are any

Inbound and Outbound do not know each other. Outside this folder, only the fast path in C writes fields of the record.
deadlines.py computes deadlines as data.
"""

from fourtuple.events import Reason, Statistics
from fourtuple.stream.layer import Layer
from fourtuple.stream.requests import Request
from fourtuple.stream.state import NOTHING
from fourtuple.stream.stream import Stream, Tap
from fourtuple.stream.values import NOT_YET, Half, Nothing, Path, Unsendable, new_id

__all__ = [
    "NOTHING",
    "NOT_YET",
    "Half",
    "Layer",
    "Nothing",
    "Path",
    "Reason",
    "Request",
    "Statistics",
    "Stream",
    "Tap",
    "Unsendable",
    "new_id",
]
