"""One connection without its socket: everything about a conversation that can be decided without I/O.

The engine and the blocking side move octets in (:meth:`Stream.received`, :meth:`Stream.received_eof`) and out
(:meth:`Stream.outgoing`, :meth:`Stream.sent`); what they mean is decided here, once. The clock is an argument.

The two directions have a life of their own (RFC 9293, 3.6)::

    reading                                     writing
    OPEN --- FIN received ----> ENDED           OPEN --- end_writing() --> ENDING --- outbox empty, FIN --> ENDED
      \\--- RST, broken framing -> BROKEN          \\--- RST, abort ----------> BROKEN

The conversation is over when both have left OPEN and ENDING for good. ``close()`` ends writing and discards what
still comes, so that the peer's last octets are not answered with an RST that would destroy our last reply.

**Batches.** A read is decoded whole; the messages wait in the inbox, and until the last of them is delivered
the decoder keeps their octets. Whoever changes the framing or asks for raw octets in between gets exactly the
octets of the messages that nobody has seen yet.

**Layers.** Something may stand between the wire and the decoder: a PROXY header that comes first, TLS. It is a
:class:`Layer`; the outbox and all counters stay those of the wire. Without one, nothing is paid but a look.

**Parts.** A stream is one record, and the parts that work with it::

    Stream     stream.py      both directions: the layers, the end, the clocks; what can be seen of it
    Inbound    inbound.py     the decoder, the inbox, what is received
    Outbound   outbound.py    the outbox
    State      state.py       the record, and the path: which questions a message has to be asked
    Requests   requests.py    who waits for which reply; made with the first request
    Raw        raw.py         octets held undecoded; there while there are any

Inbound and Outbound do not know each other; nobody outside of this folder writes a field of the record, but the fast
path in C. Deadlines as data: deadlines.py.
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
