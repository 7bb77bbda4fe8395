"""The options of each family as keyword arguments, so that type checkers report a misspelt option.

The fields of the families declare the options and describe them; a test compares these types with the fields.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class LimitsChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Limits`."""

    max_connections: int | None
    max_connections_per_address: int | None
    max_connections_per_network: int | None
    network_prefix_v4: int
    network_prefix_v6: int
    accept_rate: float | None
    accept_rate_per_address: float | None
    max_queue_age: float | None
    allow: str
    deny: str
    refusal: str | None
    max_message_rate: float | None
    max_octet_rate: float | None
    max_message_rate_per_address: float | None
    max_octet_rate_per_address: float | None
    max_buffered: int | None
    max_buffered_per_connection: int | None
    alarm_connections: int | None
    alarm_interval: float
    max_threads: int
    read_size: int
    max_batch: int
    high_water: int
    low_water: int
    max_outbox: int


class DeadlinesChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Deadlines`."""

    proxy_header_timeout: float | None
    handshake_timeout: float | None
    first_message_timeout: float | None
    message_timeout: float | None
    idle_timeout: float | None
    crowded_idle_timeout: float | None
    handler_timeout: float | None
    stall_timeout: float | None
    write_timeout: float | None
    rate_timeout: float | None
    linger_timeout: float | None
    drain_timeout: float | None
    drain_first_message_timeout: float
    drain_idle_timeout: float
    tear_down_timeout: float | None
    drain_spread: float


class SocketsChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Sockets`."""

    backlog: int
    nodelay: bool
    reuse_address: bool
    reuse_port: bool
    send_buffer: int | None
    receive_buffer: int | None
    notsent_lowat: int | None
    keepalive: bool
    keepalive_idle: int
    keepalive_interval: int
    keepalive_count: int
    user_timeout: float | None
    defer_accept: int | None
    congestion: str | None
    interface: str | None
    freebind: bool
    unix_mode: str | None
    unix_owner: str | None


class TlsChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Tls`."""

    certificate: str | None
    key: str | None
    key_password: str | None
    sni: str
    ca: str | None
    verify: Literal["auto", "required", "optional", "none"]
    alpn: str
    minimum: Literal["1.2", "1.3"]
    mode: Literal["always", "detect", "starttls"]
    dev: bool


class ProxyChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Proxy`."""

    protocol: Literal["off", "optional", "required"]
    trusted: str


class OperationsChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.options.Operations`."""

    control: str | None
    http: str | None
    dashboard: bool
    http_hosts: str
    user: str | None
    group: str | None
    pidfile: str | None


class ReconnectChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Reconnect`."""

    attempts: int
    delay: float
    max_delay: float
    jitter: float


class PoolChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Pool`."""

    max_connections: int
    max_pipelined: int
    max_waiting: int
    request_timeout: float | None
    whole_timeout: float | None
    fail_fast: bool
    max_abandoned: int
    max_idle: float | None
    max_age: float | None
    max_requests: int | None
    check_after: float
    ping_interval: float


class RetriesChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Retries`."""

    delay: float
    factor: float
    max_delay: float
    jitter: float
    after_loss: float
    reset_after: float
    budget_share: float
    budget_rate: float


class PushesChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Pushes`."""

    max_inbox: int
    overflow: Literal["stop_reading", "drop_oldest"]


class ProcessesChanges(TypedDict, total=False):
    """The options of :class:`~fourtuple.Processes`."""

    workers: int | None
    start_timeout: float | None
    handshake_grace: float
    recycle_messages: int | None
    recycle_after: float | None
    recycle_jitter: float
