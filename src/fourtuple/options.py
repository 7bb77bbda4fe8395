"""Every option, declared once: a field of a frozen dataclass with its unit, default and the default's reason.

The command line's flags, the environment variables (``FOURTUPLE_MAX_CONNECTIONS``), the keys of
``fourtuple.toml`` and the reference page are made from these fields by :func:`declared`. Seconds are floats,
sizes are octets, ``None`` means "no limit" and must be typed by somebody. All values are checked when the
object is made: before a socket is opened.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from fourtuple.address import parse_networks
from fourtuple.errors import AddressError, OptionError

KIB = 1024
MIB = 1024 * KIB

#: The largest message of every framing, unless something else is typed: large enough for what most
#: protocols exchange, small enough that ten thousand peers announcing it do not end the machine.
DEFAULT_MAX_MESSAGE = 1 * MIB


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known of one option: where the flag, the variable, the key and the reference row come from."""

    family: str
    name: str
    annotation: str
    default: Any
    unit: str
    help: str
    reason: str
    prefix: str = ""
    bare: bool = False

    @property
    def flag(self) -> str:
        """``--max-connections``, ``--tls-certificate``"""
        return "--" + (self.prefix + self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        """``FOURTUPLE_MAX_CONNECTIONS``, ``FOURTUPLE_TLS_CERTIFICATE``"""
        return "FOURTUPLE_" + (self.prefix + self.name).upper()

    @property
    def optional(self) -> bool:
        """Whether ``none`` can be given."""
        return "None" in self.annotation

    def convert(self, text: str) -> Any:
        """The value that a text form stands for: ``64k``, ``1.5``, ``none``, ``on``. Raises :class:`OptionError`."""
        given = text.strip().lower()
        if self.optional and given in {"none", "off", "never", "unlimited"}:
            return None
        kind = self.annotation.split("|")[0].strip()
        try:
            if kind == "bool":
                return {
                    "on": True,
                    "true": True,
                    "yes": True,
                    "1": True,
                    "off": False,
                    "false": False,
                    "no": False,
                    "0": False,
                }[given]
            if kind == "int":
                return parse_size(given) if self.unit == "octets" else int(given)
            if kind == "float":
                return float(given)
        except (KeyError, ValueError) as error:
            raise OptionError(f"{self.name}: cannot read {text!r} as {self.expects}") from error
        return text

    @property
    def expects(self) -> str:
        """What a user may type, in words."""
        kind = self.annotation.split("|")[0].strip()
        words = {"bool": "on or off", "int": "a whole number", "float": "a number"}.get(kind, "text")
        if self.unit:
            words += f" of {self.unit}"
        if self.unit == "octets":
            words += " (64k, 1m)"
        return words + (" or none" if self.optional else "")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    reason: str = "",
    minimum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    bare: bool = False,
) -> Any:
    """Declare an option as a dataclass field.

    ``minimum``, ``above`` and ``choices`` are checked by :class:`Options`; a ``secret`` is not in the repr;
    the flag of a ``bare`` one takes no value.
    """
    return dataclasses.field(
        default=default,
        repr=not secret,
        metadata={
            "help": help,
            "unit": unit,
            "reason": reason,
            "minimum": minimum,
            "above": above,
            "choices": choices,
            "bare": bare,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of the option families: checks ranges, lists what is declared."""

    #: What flags and variables have in front of a field's name.
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                if "None" not in str(field.type):
                    raise OptionError(f"{field.name}: None is not possible here")
                continue
            kind = str(field.type).split("|")[0].strip()
            wanted: Any = {"int": int, "float": (int, float), "bool": bool, "str": str}.get(kind)
            if wanted is not None and (not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool))):
                raise OptionError(f"{field.name}: {value!r} is not {kind}")
            unit = f" {field.metadata['unit']}" if field.metadata.get("unit") else ""
            minimum, above = field.metadata.get("minimum"), field.metadata.get("above")
            # `not (value >= minimum)` rather than `value < minimum`: it refuses a NaN, too.
            if minimum is not None and not (value >= minimum):
                raise OptionError(f"{field.name}: {value!r}{unit} given, at least {minimum:g} needed")
            if above is not None and not (value > above):
                raise OptionError(f"{field.name}: {value!r}{unit} given, more than {above:g} needed")
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise OptionError(f"{field.name}: {value!r} given, one of {', '.join(choices)} needed")

    def replace(self: _O, **changes: Any) -> _O:
        """A copy with some options changed; checked again."""
        return dataclasses.replace(self, **changes)


_O = TypeVar("_O", bound=Options)


def declared(family: type[Options]) -> Iterator[Declared]:
    """The options of a family, in the order in which they stand."""
    for field in dataclasses.fields(family):
        meta = field.metadata
        yield Declared(
            family.__name__,
            field.name,
            str(field.type),
            field.default,
            meta["unit"],
            meta["help"],
            meta["reason"],
            family.prefix,
            meta["bare"],
        )


def parse_size(text: str) -> int:
    """``65536``, ``64k``, ``64KiB``, ``1m``, ``2g`` as a number of octets. Raises :class:`OptionError`."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise OptionError(f"cannot read {text!r} as a number of octets (65536, 64k, 1m)")
    return int(match[1]) * {"": 1, "k": KIB, "m": MIB, "g": 1024 * MIB}[match[2]]


# -- the families -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Limits(Options):
    """How much of everything: nothing a peer can make grow is without a bound."""

    max_connections: int | None = option(
        None,
        "connections at once; above it accept pauses and the kernel's queue waits",
        unit="connections",
        reason="none means: the smaller of 10,000 and the descriptor limit less a reserve, found at the start",
        minimum=1,
    )
    max_connections_per_address: int | None = option(
        None,
        "connections at once from one remote address; more are refused",
        unit="connections",
        reason="none: behind a NAT or a balancer, everybody has the same address",
        minimum=1,
    )
    max_connections_per_network: int | None = option(
        None,
        "connections at once from one network, of network_prefix_v4 or network_prefix_v6; more are refused",
        unit="connections",
        reason="none: as for one address",
        minimum=1,
    )
    network_prefix_v4: int = option(
        24,
        "the length of the prefix that makes IPv4 peers one network, 0 to 32",
        unit="bits",
        reason="the smallest prefix that is routed on the internet, and so the least that one owner has",
        minimum=0,
    )
    network_prefix_v6: int = option(
        64,
        "the length of the prefix that makes IPv6 peers one network, 0 to 128",
        unit="bits",
        reason="one subnet: a single machine takes any address of it (RFC 8981)",
        minimum=0,
    )
    accept_rate: float | None = option(
        None,
        "new connections a second; above it accept pauses and the kernel's queue waits",
        unit="connections a second",
        reason="none: accepting costs little, and max_connections bounds what is held",
        above=0,
    )
    accept_rate_per_address: float | None = option(
        None,
        "new connections a second from one remote address; more are refused",
        unit="connections a second",
        reason="none: behind a NAT or a balancer, everybody has the same address",
        above=0,
    )
    allow: str = option(
        "",
        "networks that may connect, with commas between them: 10.0.0.0/8, 2001:db8::/32; others are refused",
        reason="empty allows everybody: who may reach a port is first of all the firewall's and the address's matter",
    )
    deny: str = option(
        "",
        "networks that may not connect, with commas between them; stronger than allow",
        reason="empty denies nobody",
    )
    refusal: str | None = option(
        None,
        "a message for the refused, framed as all others are; then they are closed, lingering",
        reason="none: most protocols have no word for it, and silence tells a scanner nothing",
    )
    max_message_rate: float | None = option(
        None,
        "messages a second from one connection, after a second's worth at once; beyond it, reading is delayed",
        unit="messages a second",
        reason="none: only the author knows what a message costs; the loop is shared fairly in any case",
        above=0,
    )
    max_octet_rate: float | None = option(
        None,
        "octets a second from one connection, after a second's worth at once; beyond it, reading is delayed",
        unit="octets a second",
        reason="none: who may fill the line is the owner's decision",
        above=0,
    )
    max_buffered: int | None = option(
        256 * MIB,
        "octets in the buffers of all connections; above it, accept pauses and who holds most is aborted",
        unit="octets",
        reason="half of a small container: ten thousand peers that announce 1 MiB each would want 10 GiB",
        minimum=1,
    )
    max_buffered_per_connection: int | None = option(
        None,
        "octets in the buffers of one connection; above it, it is aborted",
        unit="octets",
        reason="none: max_message and max_outbox bound a connection already; this is for those set to none",
        minimum=1,
    )
    alarm_connections: int | None = option(
        None,
        "connections at which an alarm event is raised",
        unit="connections",
        reason="none: only the owner knows what is unusual",
        minimum=1,
    )
    alarm_interval: float = option(
        5.0,
        "between two alarms, while the reason lasts",
        unit="seconds",
        reason="as ranch's cool-down: a page, not a flood",
        above=0,
    )
    max_threads: int = option(
        64,
        "threads for handlers that block; with none free, accept pauses",
        unit="threads",
        reason="a thread costs some 100 KiB with its stack touched; more than this and the GIL is the queue",
        minimum=1,
    )
    read_size: int = option(
        64 * KIB,
        "the most that one recv() takes",
        unit="octets",
        reason="one read is one batch; below malloc's mmap threshold of 128 KiB, so a read costs no page faults",
        minimum=1,
    )
    max_batch: int = option(
        512,
        "messages that one connection may have handled before others get their turn",
        unit="messages",
        reason="about half a millisecond of handlers: one peer with tiny messages cannot hold the loop",
        minimum=1,
    )
    high_water: int = option(
        64 * KIB,
        "octets in the outbox above which send waits, replies stop and reading pauses",
        unit="octets",
        reason="enough to keep a fast path busy; asyncio and Netty use the same",
        minimum=1,
    )
    low_water: int = option(
        16 * KIB,
        "octets in the outbox at which a paused conversation goes on",
        unit="octets",
        reason="a quarter of the high mark: no flutter at the mark, no idle line",
        minimum=0,
    )

    max_outbox: int = option(
        16 * MIB,
        "octets in the outbox at which a further send() is refused",
        unit="octets",
        reason="send() waits at high_water; this bounds the code that does not wait for it. "
        "One message alone may be larger",
        minimum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low_water >= self.high_water:
            raise OptionError(
                f"low_water: {self.low_water} octets given, it must be below high_water ({self.high_water})"
            )
        for name, bits in (("network_prefix_v4", 32), ("network_prefix_v6", 128)):
            if getattr(self, name) > bits:
                raise OptionError(f"{name}: {getattr(self, name)} bits given, no more than {bits} are possible")
        for name in ("allow", "deny"):
            try:
                parse_networks(getattr(self, name))
            except AddressError as error:
                raise OptionError(f"{name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Deadlines(Options):
    """How long everything may take. A deadline is data: one coarse sweep looks after all of them.

    ``None`` switches a deadline off.
    """

    proxy_header_timeout: float | None = option(
        5.0,
        "from accept to the whole PROXY header, where one is required",
        unit="seconds",
        reason="the balancer sends it first and at once; it has one round trip, and may lose a packet",
        above=0,
    )
    handshake_timeout: float | None = option(
        10.0,
        "for a whole TLS handshake",
        unit="seconds",
        reason="two round trips and two lost packets on a slow line; a peer that stalls holds a place",
        above=0,
    )
    first_message_timeout: float | None = option(
        30.0,
        "from accept to the first whole message; off where the service speaks first",
        unit="seconds",
        reason="a peer that connects and says nothing holds a place; a slow human types a line in that time",
        above=0,
    )
    message_timeout: float | None = option(
        30.0,
        "from the first octet of a message to its last; a trickle does not reset it",
        unit="seconds",
        reason="slowloris: an octet a second must not hold a place for ever",
        above=0,
    )
    idle_timeout: float | None = option(
        None,
        "without an octet in either direction while no handler is at work",
        unit="seconds",
        reason="off: devices keep quiet connections for days, and keepalive finds the dead ones",
        above=0,
    )
    handler_timeout: float | None = option(
        None,
        "for one call of a handler that is awaited or runs in a thread, or one reply of such a generator",
        unit="seconds",
        reason="off: only the author knows how long the work takes",
        above=0,
    )
    write_timeout: float | None = option(
        60.0,
        "without progress in writing; progress is 1 KiB, or the whole outbox",
        unit="seconds",
        reason="a peer that does not read holds our memory; an octet a second is not reading",
        above=0,
    )
    rate_timeout: float | None = option(
        60.0,
        "above max_message_rate or max_octet_rate without a second of quiet, before the connection is closed",
        unit="seconds",
        reason="a burst is only delayed; who floods for a minute does not mean well, and holds a place",
        above=0,
    )
    linger_timeout: float | None = option(
        2.0,
        "after our FIN, for the peer's: closing earlier could answer its last octets with RST and eat our reply",
        unit="seconds",
        reason="many times a round trip anywhere on earth",
        above=0,
    )
    drain_timeout: float | None = option(
        30.0,
        "from the wish to stop to the abort of what still runs",
        unit="seconds",
        reason="what Kubernetes and systemd grant before they kill",
        above=0,
    )
    drain_idle_timeout: float = option(
        1.0,
        "at a message boundary, while draining, before the half-close",
        unit="seconds",
        reason="a request already on its way arrives; an idle client does not delay the stop",
        minimum=0,
    )

    @classmethod
    def public(cls) -> Deadlines:
        """The preset for the open internet: the defaults, and nobody idles for more than a minute."""
        return cls(idle_timeout=60.0)


@dataclass(frozen=True, kw_only=True)
class Sockets(Options):
    """Options of the sockets themselves: tcp(7), socket(7), ip(7). ``None`` leaves the kernel's default."""

    backlog: int = option(
        4096,
        "established connections that may wait for accept(); the kernel clamps it to net.core.somaxconn",
        unit="connections",
        reason="a burst waits instead of timing out; the queue costs nothing while it is empty",
        minimum=0,
    )
    nodelay: bool = option(
        True,
        "TCP_NODELAY: small messages leave at once",
        reason="Nagle's algorithm and delayed ACK cost request/reply protocols 40 ms; we join batches ourselves",
    )
    reuse_address: bool = option(
        True,
        "SO_REUSEADDR on listeners: a restart does not wait for TIME_WAIT",
        reason="on Linux it never lets two listeners share a port",
    )
    reuse_port: bool = option(
        False,
        "SO_REUSEPORT on listeners: several processes may listen at one name",
        reason="off: a second start by mistake would silently take half of the traffic",
    )
    send_buffer: int | None = option(
        None, "SO_SNDBUF", unit="octets", reason="none: setting it ends the kernel's own tuning", minimum=1
    )
    receive_buffer: int | None = option(
        None, "SO_RCVBUF", unit="octets", reason="none: setting it ends the kernel's own tuning", minimum=1
    )
    notsent_lowat: int | None = option(
        128 * KIB,
        "TCP_NOTSENT_LOWAT: unsent octets above which a socket is not writable",
        unit="octets",
        reason="a peer that never reads costs 0.2 to 0.4 MiB of kernel memory instead of 3.9",
        minimum=1,
    )
    keepalive: bool = option(
        True,
        "SO_KEEPALIVE: probe a silent peer",
        reason="it finds peers that died without a word; costs a packet a minute on idle connections only",
    )
    keepalive_idle: int = option(
        60,
        "TCP_KEEPIDLE: silence before the first probe",
        unit="seconds",
        reason="below the 5 minutes of many NATs",
        minimum=1,
    )
    keepalive_interval: int = option(
        10, "TCP_KEEPINTVL: between probes", unit="seconds", reason="six probes fit into a minute", minimum=1
    )
    keepalive_count: int = option(
        6,
        "TCP_KEEPCNT: unanswered probes that mean death",
        unit="probes",
        reason="a minute of loss is survived",
        minimum=1,
    )
    user_timeout: float | None = option(
        60.0,
        "TCP_USER_TIMEOUT: data unacknowledged for this long means death (RFC 5482)",
        unit="seconds",
        reason="keepalive does not fire with data in flight; the kernel's own limit is 15 minutes",
        above=0,
    )
    defer_accept: int | None = option(
        None,
        "TCP_DEFER_ACCEPT: seconds to wait for a first octet before accept() sees the connection",
        unit="seconds",
        reason="none: it would delay every service that speaks first",
        minimum=1,
    )
    congestion: str | None = option(
        None,
        "TCP_CONGESTION: the congestion control, for example bbr",
        reason="none: the administrator's choice",
    )
    interface: str | None = option(
        None, "SO_BINDTODEVICE: only through this interface", reason="none: the address decides"
    )
    freebind: bool = option(
        False,
        "IP_FREEBIND: an address that is not there yet may be bound",
        reason="off: it hides a mistyped address",
    )


@dataclass(frozen=True, kw_only=True)
class Tls(Options):
    """TLS, for servers and clients. Files are PEM; they are read, and checked, before a socket is opened.

    A server needs a certificate, or ``dev``; ``Tls()`` as it stands means: no TLS. A client needs nothing: it
    trusts whom the system trusts.
    """

    prefix: ClassVar[str] = "tls_"

    certificate: str | None = option(
        None,
        "the file of our certificate and the chain behind it; it may hold the key, too",
        reason="none: a server without it has no TLS, and most clients show none",
    )
    key: str | None = option(None, "the file of the certificate's private key", reason="none: the certificate's file")
    key_password: str | None = option(
        None, "what the key is encrypted with", reason="none: it is not encrypted", secret=True
    )
    sni: str = option(
        "",
        "further certificates by the name that the client asks for: a.example=a.pem:a.key, *.b.example=b.pem",
        reason="empty: one certificate for all; names that are not listed get the first one, too",
    )
    ca: str | None = option(
        None,
        "the file of the authorities that the peer's certificate must come from",
        reason="none: a client trusts whom the system trusts, a server asks for no certificates",
    )
    verify: str = option(
        "auto",
        "whether the peer must show a certificate that verifies: auto, required, optional or none",
        reason="auto: a client's peer must, a server's must where ca is given",
        choices=("auto", "required", "optional", "none"),
    )
    alpn: str = option(
        "", "application protocols to agree on, the best first: h2, http/1.1", reason="empty: ALPN is not spoken"
    )
    minimum: str = option(
        "1.2",
        "the oldest version that is spoken: 1.2 or 1.3",
        reason="older ones are broken (RFC 8996)",
        choices=("1.2", "1.3"),
    )
    mode: str = option(
        "always",
        "which connections speak TLS: always, detect (by the first octet, beside plain ones) or starttls "
        "(when the service says so)",
        reason="always: nobody speaks plainly by mistake",
        choices=("always", "detect", "starttls"),
    )
    dev: bool = option(
        False,
        "serve with a throw-away certificate, made by the openssl program at the start, that nobody trusts",
        reason="off: for trying things out only",
        bare=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dev and self.certificate is not None:
            raise OptionError("dev: a throw-away certificate beside the one of certificate")
        if self.key is not None and self.certificate is None:
            raise OptionError(f"key: {self.key} given without the certificate that it belongs to")

    @property
    def off(self) -> bool:
        """Whether nothing was asked for."""
        return self == Tls()


@dataclass(frozen=True, kw_only=True)
class Proxy(Options):
    """The PROXY protocol: a balancer in front says who the real client is."""

    prefix: ClassVar[str] = "proxy_"

    protocol: str = option(
        "off",
        "whether connections begin with a PROXY header, version 1 or 2: off, optional or required",
        reason="off: whoever can connect could claim to be anybody",
        choices=("off", "optional", "required"),
    )
    trusted: str = option(
        "127.0.0.0/8, ::1",
        "the balancers' networks: only their headers are believed; Unix sockets always are",
        reason="this machine: a list that is too short shows at once, one that is too long never does",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parse_networks(self.trusted)
        except AddressError as error:
            raise OptionError(f"trusted: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Reconnect(Options):
    """How often, and how patiently, a client tries to connect."""

    attempts: int = option(
        1,
        "attempts in all, each over all addresses",
        unit="attempts",
        reason="one: an error shows at once, who wants patience says so",
        minimum=1,
    )
    delay: float = option(
        0.1,
        "before the second attempt; doubled before each further one",
        unit="seconds",
        reason="a restart takes about that",
        minimum=0,
    )
    max_delay: float = option(
        10.0,
        "the longest pause between two attempts",
        unit="seconds",
        reason="a server that is back is found soon",
        minimum=0,
    )
    jitter: float = option(
        0.5,
        "the random share of each pause, 0 to 1",
        reason="a thousand clients of a restarted server do not return at the same instant",
        minimum=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter > 1:
            raise OptionError(f"jitter: {self.jitter!r} given, it is a share, at most 1")

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (1 is the first); ``chance`` is in [0, 1)."""
        # The exponent is bounded: a patient client comes to attempts whose power of two is no float any more.
        full: float = min(self.max_delay, self.delay * 2.0 ** min(attempt - 1, 64))
        return full * (1 - self.jitter * chance)


FAMILIES: tuple[type[Options], ...] = (Limits, Deadlines, Sockets, Tls, Proxy)
