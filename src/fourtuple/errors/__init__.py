"""Every exception of fourtuple.

The tree, each class with the built-in exception that it also is::

    FourTupleError
    ├── AddressError (ValueError)                an address that cannot be read
    ├── OptionError (ValueError)                 an option with an impossible value
    ├── FilterError (ValueError)                 a filter over sockets that cannot be read
    ├── ServiceError (TypeError)                 an invalid declaration of a service
    ├── UnsupportedLoop (RuntimeError)           an event loop without add_reader
    ├── SupervisorError (RuntimeError)           a supervisor cannot do what it was asked to do
    │   └── WorkerNotStarted                     a worker ended before it accepted connections
    ├── ChannelError (ConnectionError)           another process of this server has ended, or failed at a request
    ├── FramingError (ValueError)
    │   ├── FramingTextError                     a framing's text form that cannot be read
    │   ├── EncodeError                          a message that the peer could not decode
    │   ├── UnmappedMessage                      a message that does not map; the stream goes on after it
    │   └── MessageError                         the peer broke the framing
    │       ├── MessageTooLong                   more octets than max_message
    │       ├── MalformedMessage                 octets that no encoder writes
    │       ├── FramingMistake                   a mistake in the framing's code, not of the peer
    │       └── IncompleteMessage (EOFError)     end of file inside a message
    ├── ConnectError (OSError)                   connect() failed; one subclass for every reason
    │   ├── ConnectRefused (ConnectionRefusedError)
    │   ├── ConnectTimeout (TimeoutError)
    │   ├── ConnectReset (ConnectionResetError)
    │   ├── HostUnreachable, NetworkUnreachable
    │   ├── NameNotFound (socket.gaierror is also an OSError)
    │   ├── NoLocalPort, LocalAddressInUse, LocalAddressUnavailable
    │   ├── ConnectForbidden (PermissionError)
    │   └── NoSuchSocket (FileNotFoundError)     a Unix path that does not exist
    ├── ListenError (OSError)                    a passive socket could not be opened
    │   ├── ListenAddressInUse, ListenAddressUnavailable
    │   └── ListenForbidden (PermissionError)
    ├── EndOfFile (EOFError)                     end of file at a message boundary
    ├── ConnectionLost (ConnectionError)         the peer or the network broke the connection
    │   ├── PeerReset (ConnectionResetError)
    │   ├── TlsError                             TLS failed, on either side
    │   │   ├── TlsCertificateRefused            the peer's certificate does not verify
    │   │   ├── TlsAlert                         the peer refused with an alert
    │   │   ├── TlsExpected                      plain octets where TLS was expected
    │   │   ├── TlsNoAgreement                   no common version or cipher
    │   │   └── TlsTruncated (EOFError)          end of file without close_notify
    │   ├── ProxyHeaderError                     a PROXY header that is missing, malformed or not trusted
    │   └── UnexpectedMessage                    a client's server sent a message that answers no request
    ├── ConnectionEnded (ConnectionError)        *you* closed or half-closed it before
    ├── ConnectionBusy (RuntimeError)            two users at once
    ├── WrongThread (RuntimeError)               called in another thread or loop than its own
    ├── LoopClosed (RuntimeError)                a call of a server whose event loop was closed
    ├── NotAwaited (TypeError, AttributeError)   an async connect() that was not awaited
    ├── TooManyTimers (RuntimeError)             a connection has no room for another timer
    ├── OutboxFull (BufferError)                 sent too much without waiting for the peer to read
    ├── WouldBlock (BlockingIOError)             it would have to wait now; try later
    ├── DeadlinePassed (TimeoutError)            a deadline passed; it is named
    ├── HandlerFailed                            a handler raised; the cause is chained
    ├── HandlerMistake (TypeError)               a handler returned something else than it has to
    ├── NotConnected (ConnectionError)           a client has no connection now, and must not wait for one
    ├── PermanentFailure (ConnectionError)       greet said that no later attempt can succeed
    ├── TooManyWaiting (BufferError)             too many requests of a client wait for a connection
    ├── PushConsumerDied (RuntimeError)          no code of the program consumes the pushes any more
    └── OperationError (RuntimeError)            an operation on a running server that cannot be done

Every error that a request of a client raises has a ``fate``: see :class:`Fate`.

Texts say what happened, on which connection, the number seen, the number allowed and, if it helps, what to do. The data
is in attributes.
"""

from __future__ import annotations

from fourtuple.errors.base import Fate, FourTupleError
from fourtuple.errors.client import NotConnected, PermanentFailure, PushConsumerDied, TooManyWaiting, UnexpectedMessage
from fourtuple.errors.connection import (
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    DeadlinePassed,
    EndOfFile,
    HandlerFailed,
    HandlerMistake,
    LoopClosed,
    NotAwaited,
    OutboxFull,
    PeerReset,
    ProxyHeaderError,
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsNoAgreement,
    TlsTruncated,
    TooManyTimers,
    WouldBlock,
    WrongThread,
)
from fourtuple.errors.declared import (
    AddressError,
    ChannelError,
    FilterError,
    OperationError,
    OptionError,
    ServiceError,
    SupervisorError,
    UnsupportedLoop,
    WorkerNotStarted,
)
from fourtuple.errors.framing import (
    EncodeError,
    FramingError,
    FramingMistake,
    FramingTextError,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
    UnmappedMessage,
)
from fourtuple.errors.opening import (
    ConnectError,
    ConnectForbidden,
    ConnectRefused,
    ConnectReset,
    ConnectTimeout,
    HostUnreachable,
    ListenAddressInUse,
    ListenAddressUnavailable,
    ListenError,
    ListenForbidden,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NameNotFound,
    NetworkUnreachable,
    NoLocalPort,
    NoSuchSocket,
)

__all__ = [
    "FourTupleError",
    "AddressError",
    "OptionError",
    "FilterError",
    "ServiceError",
    "UnsupportedLoop",
    "SupervisorError",
    "WorkerNotStarted",
    "ChannelError",
    "FramingError",
    "FramingTextError",
    "EncodeError",
    "UnmappedMessage",
    "MessageError",
    "MessageTooLong",
    "MalformedMessage",
    "FramingMistake",
    "IncompleteMessage",
    "ConnectError",
    "ConnectRefused",
    "ConnectTimeout",
    "ConnectReset",
    "HostUnreachable",
    "NetworkUnreachable",
    "NameNotFound",
    "NoLocalPort",
    "LocalAddressInUse",
    "LocalAddressUnavailable",
    "ConnectForbidden",
    "NoSuchSocket",
    "ListenError",
    "ListenAddressInUse",
    "ListenAddressUnavailable",
    "ListenForbidden",
    "EndOfFile",
    "ConnectionLost",
    "PeerReset",
    "TlsError",
    "TlsCertificateRefused",
    "TlsAlert",
    "TlsExpected",
    "TlsNoAgreement",
    "TlsTruncated",
    "ProxyHeaderError",
    "ConnectionEnded",
    "ConnectionBusy",
    "WrongThread",
    "LoopClosed",
    "NotAwaited",
    "TooManyTimers",
    "OutboxFull",
    "WouldBlock",
    "DeadlinePassed",
    "HandlerFailed",
    "HandlerMistake",
    "UnexpectedMessage",
    "NotConnected",
    "PermanentFailure",
    "TooManyWaiting",
    "PushConsumerDied",
    "OperationError",
    "Fate",
]

# Each is known by its public name: in tracebacks, and where it is pickled.
for _each in map(globals().__getitem__, __all__):
    _each.__module__ = __name__
