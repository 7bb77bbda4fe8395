"""Events: the values that tell observers what happened.

The library writes no logs itself. It calls an observer, which is any callable that takes one :class:`Event`; the
console, JSON logging and metrics are observers. An observer is called in the thread in which the event happens, and
must not block.
"""

from __future__ import annotations

from fourtuple.events.base import Event, Observer
from fourtuple.events.client import (
    ClientConnected,
    ClientConnectFailed,
    ClientDisconnected,
    ClientRetried,
    ClientState,
    ClientStateChanged,
    ClientStatistics,
    PushConsumerFailed,
    PushesDropped,
    Reconnected,
)
from fourtuple.events.connection import (
    Accepted,
    Closed,
    DeadlineMissed,
    HandlerAbandoned,
    HandlerRaised,
    HandlerSlow,
    LimitExceeded,
    MessageFailed,
    MessageUnmapped,
    ProgramEnded,
    TlsFailed,
    TlsStarted,
)
from fourtuple.events.ending import Reason, Statistics
from fourtuple.events.server import (
    AcceptDelayed,
    AcceptFailed,
    AcceptPaused,
    AcceptResumed,
    AlarmRaised,
    CertificatesFailed,
    CertificatesRead,
    DialFailed,
    Drained,
    Draining,
    Listening,
    LoopHeld,
    Operating,
    Refused,
)

__all__ = [
    "Reason",
    "Statistics",
    "Event",
    "Listening",
    "Operating",
    "Accepted",
    "Refused",
    "DialFailed",
    "TlsStarted",
    "TlsFailed",
    "CertificatesRead",
    "CertificatesFailed",
    "AcceptPaused",
    "AcceptResumed",
    "AcceptDelayed",
    "AcceptFailed",
    "MessageFailed",
    "MessageUnmapped",
    "HandlerRaised",
    "ProgramEnded",
    "HandlerSlow",
    "LoopHeld",
    "HandlerAbandoned",
    "DeadlineMissed",
    "LimitExceeded",
    "AlarmRaised",
    "Closed",
    "Draining",
    "Drained",
    "ClientState",
    "ClientStateChanged",
    "ClientConnected",
    "ClientConnectFailed",
    "ClientDisconnected",
    "ClientRetried",
    "Reconnected",
    "PushesDropped",
    "PushConsumerFailed",
    "ClientStatistics",
    "Observer",
]

# Each is known by its public name: in tracebacks, and where it is pickled.
for _each in map(globals().get, __all__):
    if isinstance(_each, type):
        _each.__module__ = __name__
