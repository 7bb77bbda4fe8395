"""PURE: every metric, declared once: its name, kind, help, labels and buckets. The reference page is made from this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The value of a label in which further values are counted, so that no peer can make the page of metrics grow.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    ``merged`` says how the values of several workers become one: their sum, or the largest. ``bounds`` are the upper
    bounds of the buckets of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ("service",)
    bounds: tuple[float, ...] = ()
    merged: Literal["sum", "max"] = "sum"


#: From 10 us, a short function in Python, to 10 s, the default of handler_timeout.
_HANDLER = (1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
#: From a single request to a connection that stays for a day.
_DURATION = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
#: Octets, up to the default of max_message and above.
_SIZE = (16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 16777216.0)

_ALL = (
    Metric("fourtuple_connections_accepted_total", "counter", "Connections accepted, with those that were adopted."),
    Metric("fourtuple_connections_open", "gauge", "Connections open now."),
    Metric("fourtuple_connections_max", "gauge", "The limit of open connections in force."),
    Metric(
        "fourtuple_connections_closed_total",
        "counter",
        "Connections that have ended, by reason.",
        ("service", "reason"),
    ),
    Metric(
        "fourtuple_connections_refused_total",
        "counter",
        "Connections refused after accept, by the option that refused them.",
        ("service", "limit"),
    ),
    Metric("fourtuple_connections_aborted_total", "counter", "Connections aborted when the server stopped."),
    Metric("fourtuple_probes_total", "counter", "Connections that ended without an octet of the conversation."),
    Metric(
        "fourtuple_connection_duration_seconds",
        "histogram",
        "How long connections that have ended were open.",
        bounds=_DURATION,
    ),
    Metric("fourtuple_messages_received_total", "counter", "Messages decoded."),
    Metric("fourtuple_messages_sent_total", "counter", "Messages encoded."),
    Metric("fourtuple_octets_received_total", "counter", "Octets received on the wire."),
    Metric("fourtuple_octets_sent_total", "counter", "Octets sent on the wire."),
    Metric(
        "fourtuple_message_size_octets",
        "histogram",
        "The size of messages of octets that reply handlers got (in) and returned (out).",
        ("service", "direction"),
        _SIZE,
    ),
    Metric(
        "fourtuple_handler_seconds",
        "histogram",
        "How long calls of the reply handler took, from the call to the reply.",
        bounds=_HANDLER,
    ),
    Metric("fourtuple_handler_errors_total", "counter", "Handlers that raised."),
    Metric("fourtuple_handlers_slow_total", "counter", "Handlers that held the loop too long."),
    Metric("fourtuple_handlers_abandoned_total", "counter", "Handlers that did not end when the server stopped."),
    Metric("fourtuple_message_errors_total", "counter", "Connections whose peer broke the framing."),
    Metric(
        "fourtuple_messages_unmapped_total",
        "counter",
        "Messages that do not map (a wrong checksum, invalid JSON), where the service decides and the stream goes on.",
    ),
    Metric(
        "fourtuple_deadlines_missed_total",
        "counter",
        "Deadlines that have passed, by the option that set them.",
        ("service", "deadline"),
    ),
    Metric(
        "fourtuple_limits_exceeded_total",
        "counter",
        "Connections aborted because of a limit, by the option.",
        ("service", "limit"),
    ),
    Metric("fourtuple_tls_handshakes_total", "counter", "TLS handshakes completed."),
    Metric("fourtuple_tls_failures_total", "counter", "Connections that failed by a TLS error."),
    Metric("fourtuple_accept_failures_total", "counter", "Calls of accept(2) that failed."),
    Metric("fourtuple_buffered_octets", "gauge", "Octets held in the buffers of all connections."),
    Metric("fourtuple_threads_busy", "gauge", "Threads in which handlers run."),
    Metric(
        "fourtuple_accept_queue", "gauge", "Connections that wait for accept(2) in the kernel.", ("service", "address")
    ),
    Metric(
        "fourtuple_accept_queue_limit",
        "gauge",
        "The backlog in force: the kernel drops connections when more than so many wait.",
        ("service", "address"),
    ),
    Metric(
        "fourtuple_accept_queue_drops_total",
        "counter",
        "Connections that the kernel dropped at this listener since it was opened, mostly because its queue was full.",
        ("service", "address"),
    ),
    Metric(
        "fourtuple_accept_paused",
        "gauge",
        "Listeners at which accept pauses; new connections wait in the kernel.",
        ("service", "address"),
    ),
    Metric("fourtuple_suspended", "gauge", "Services that are suspended by request."),
    Metric("fourtuple_draining", "gauge", "Services that are being drained."),
    Metric(
        "fourtuple_loop_lag_seconds",
        "histogram",
        "How late a timer of the event loop ran; it is set twice a second.",
        (),
        _LAG,
    ),
    Metric(
        "fourtuple_loop_longest_hold_seconds",
        "gauge",
        "The longest time for which one call has held the event loop since the process started.",
        (),
        merged="max",
    ),
    Metric("fourtuple_workers", "gauge", "Worker processes, by state.", ("state",)),
    Metric(
        "fourtuple_worker_deaths_total",
        "counter",
        "Worker processes that ended without having been told to, including before they were ready.",
        (),
    ),
    Metric(
        "fourtuple_start_time_seconds",
        "gauge",
        "When the process started that started last, in seconds since 1970.",
        (),
        merged="max",
    ),
)

#: All metrics by name.
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
