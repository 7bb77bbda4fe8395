"""What happens in one round of the storm, drawn from a seed: a server, its handlers, its peers, its end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from storm.words import BY_TEXT, WAYS, Way, asking, reply

#: The kinds of handlers; those that end in "kept" are not cancelled when their connection is lost.
REPLIES = (
    "def",
    "generator",
    "async",
    "async-generator",
    "threads",
    "thread-generator",
    "concurrent",
    "concurrent-threads",
    "async-kept",
    "batches",
    "async-batches",
)
CONVERSATIONS = (
    "conversation",
    "conversation-receive",
    "conversation-timeout",
    "conversation-kept",
    "blocking",
    "speaker",
)
KINDS = (*REPLIES, *CONVERSATIONS)
#: Several at once: there a command that changes the connection would have no place in their order.
UNORDERED = ("concurrent", "concurrent-threads", "batches", "async-batches")
IN_THREADS = ("threads", "thread-generator", "concurrent-threads", "blocking")
SEVERAL = ("generator", "async-generator", "thread-generator")

#: What a message may ask for: whether it is the last that is answered, and how many replies it has.
ECHOES = ("echo", "none", "many", "sleep", "big", "news", "cast", "look", "finished")
CHANGES = ("framing", "unread", "tls", "raw")
#: What can be changed to, and from. The others write or skip octets behind a message, which are the next framing's.
SKIPPING = ("json", "slip", "cobs", "hdlc", "stx-etx", "mllp")
CHANGING = tuple(way for way in WAYS if way.most > 1000 and not way.text.startswith(SKIPPING))
ENDS = ("raise", "raise-base", "cancel", "close", "bye", "abort", "eof", "bad", "close-other", "abort-other")


COMMANDS = (*ECHOES, *CHANGES, *ENDS)


@dataclass
class Ask:
    """One message of a peer, and what it is to come to."""

    octets: bytes
    replies: list[bytes]
    #: The connection ends here: what follows may have no reply.
    last: bool = False
    #: From here on both sides cut by another framing, or speak TLS.
    change: str = ""
    #: Octets behind the message that are in no framing.
    raw: bytes = b""


@dataclass
class Peer:
    """What one peer does."""

    number: int
    asks: list[Ask]
    #: ``after``: half-close when all is sent; ``stay``: wait for the server's end; ``close`` and ``reset``: at once.
    ending: str
    #: Octets behind the messages: half a message, garbage.
    tail: bytes = b""
    #: Octets in front of them: garbage.
    head: bytes = b""
    #: The most octets of one write; 0 all at once.
    piece: int = 0
    #: Seconds between two writes, now and then.
    pause: float = 0.0
    #: ``prompt``, ``slow``, or ``never``.
    reading: str = "prompt"
    proxy: str = ""
    tls: bool = False
    #: ``proper``, or what it does in the place of a handshake: ``plain``, ``half``.
    handshake: str = "proper"
    #: Whether its TLS ends with close_notify; many clients' does not.
    notifies: bool = True
    #: Number of messages behind which it resets or closes, with ``reset`` and ``close``.
    leaves_behind: int = 0
    begins: float = 0.0


@dataclass
class Round:
    """One server and its peers."""

    seed: int
    kind: str
    way: Way
    peers: list[Peer]
    tls: str
    proxy: str
    limits: dict[str, Any]
    deadlines: dict[str, Any]
    hooks: dict[str, str]
    #: Calls on the server meanwhile: moments and names.
    meanwhile: list[tuple[float, str]]
    ending: str
    readiness: str = "nested"
    others: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        hooks = ", ".join(f"{name}: {how}" for name, how in self.hooks.items())
        return (
            f"seed {self.seed}: {self.kind} over {self.way.text}, tls {self.tls}, proxy {self.proxy}, "
            f"{len(self.peers)} peers, {self.limits}, {self.deadlines}, hooks {{{hooks}}}, {self.ending}, "
            f"{self.readiness}"
        )


def draw(seed: int, readiness: str | None = None) -> Round:
    """The round of a seed."""
    dice = random.Random(seed)
    kind = dice.choice(KINDS)
    way = dice.choice(WAYS if dice.random() < 0.6 else WAYS[:6])
    tls = dice.choices(("none", "always", "detect", "starttls"), (6, 2, 1, 2))[0]
    proxy = dice.choices(("off", "optional", "required"), (6, 1, 1))[0]
    drawn = dice.choice(("nested", "portable"))  # also where it is given: a seed is one round
    chosen = readiness or drawn
    round_ = Round(
        seed, kind, way, [], tls, proxy, _limits(dice), _deadlines(dice), _hooks(dice, kind), _meanwhile(dice),
        dice.choices(("drain", "drain early", "abort", "abort early", "drain, abort"), (5, 2, 1, 2, 1))[0], chosen,
    )  # fmt: skip
    if kind == "speaker":
        round_.others["produces"] = dice.choice((50, 2_000, 100_000))
    round_.peers = [_peer(dice, number, round_) for number in range(dice.choice((1, 2, 4, 8, 16)))]
    return round_


def _limits(dice: random.Random) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if dice.random() < 0.3:
        limits["max_batch"] = dice.choice((1, 2, 7))
    if dice.random() < 0.3:
        limits["read_size"] = dice.choice((1, 7, 100, 5000))
    if dice.random() < 0.3:
        limits["high_water"] = dice.choice((1, 100, 10_000))
        limits["low_water"] = 0
    if dice.random() < 0.15:
        limits["max_outbox"] = dice.choice((65_536, 100_000))
    if dice.random() < 0.15:
        limits["max_connections"] = dice.choice((2, 4))
    if dice.random() < 0.2:
        limits["max_threads"] = dice.choice((1, 2))
    if dice.random() < 0.15:
        limits["max_message_rate"] = dice.choice((200.0, 5000.0))
    if dice.random() < 0.15:
        limits["max_octet_rate"] = dice.choice((20_000.0, 1e6))
    if dice.random() < 0.1:
        limits["max_buffered_per_connection"] = dice.choice((1000, 100_000))
    if dice.random() < 0.1:
        limits["accept_rate"] = dice.choice((20.0, 200.0))
    return limits


def _deadlines(dice: random.Random) -> dict[str, Any]:
    deadlines: dict[str, Any] = {
        "linger_timeout": dice.choice((0.05, 0.5)),
        "drain_idle_timeout": dice.choice((0.0, 0.1)),
    }
    deadlines["drain_timeout"] = dice.choice((0.3, 1.0, 2.0))
    if dice.random() < 0.2:
        deadlines[dice.choice(("first_message_timeout", "message_timeout", "idle_timeout", "write_timeout"))] = 0.3
    if dice.random() < 0.15:
        deadlines["handler_timeout"] = 0.3
    if dice.random() < 0.2:
        deadlines["handshake_timeout"] = deadlines["proxy_header_timeout"] = 0.5
    return deadlines


def _hooks(dice: random.Random, kind: str) -> dict[str, str]:
    hooks = {}
    for name in ("opened", "closed", "failed", "unmapped"):
        if dice.random() < 0.25 and not (name == "unmapped" and kind in CONVERSATIONS):
            hooks[name] = dice.choices(
                ("says", "silent", "raises", "raises-base", "bad", "closes"), (5, 2, 1, 1, 1, 1)
            )[0]
    return hooks


def _meanwhile(dice: random.Random) -> list[tuple[float, str]]:
    calls = ("pause", "change_limits", "connections", "statistics", "broadcast", "find", "reload")
    return sorted((dice.random() * 0.3, dice.choice(calls)) for _ in range(dice.choice((0, 0, 1, 3))))


def _peer(dice: random.Random, number: int, round_: Round) -> Peer:
    asks: list[Ask] = []
    way = round_.way
    for position in range(dice.choice((0, 1, 1, 3, 10, 40))):
        ask = _ask(dice, f"{number}-{position}", round_.kind, way, round_.tls)
        asks.append(ask)
        if ask.change.startswith("framing "):
            way = BY_TEXT[ask.change.removeprefix("framing ")]
        if ask.last:
            break
    endings = ("after", "after", "after", "stay", "close", "reset")
    peer = Peer(number, asks, dice.choice(endings), begins=dice.random() * dice.choice((0.0, 0.05, 0.3)))
    peer.leaves_behind = dice.randrange(len(asks) + 1)
    peer.piece = dice.choice((0, 0, 0, 1, 3, 50, 3000))
    peer.pause = dice.choice((0.0, 0.0, 0.001, 0.02))
    peer.reading = dice.choices(("prompt", "slow", "never"), (7, 2, 1))[0]
    peer.tls = round_.tls == "always" or (round_.tls == "detect" and dice.random() < 0.5)
    if peer.tls:
        peer.handshake = dice.choices(("proper", "plain", "half"), (10, 1, 1))[0]
        peer.notifies = dice.random() < 0.7
    if dice.random() < 0.1:
        peer.tail = dice.choice((b"half", dice.randbytes(dice.choice((1, 10, 2000)))))
    if dice.random() < 0.05:
        peer.head = dice.randbytes(dice.choice((1, 10, 2000)))
    if round_.proxy != "off":
        choices = ("v1", "v2", "v2-tlv", "none", "garbage", "local")
        peer.proxy = dice.choices(choices, (4, 4, 2, 1 if round_.proxy == "required" else 3, 1, 1))[0]
    return peer


def _ask(dice: random.Random, number: str, kind: str, way: Way, tls: str) -> Ask:
    commands = list(ECHOES) * 6
    commands += ENDS
    if kind not in UNORDERED and (kind not in IN_THREADS or kind == "blocking"):
        commands += CHANGES * 2
    command = dice.choice(commands)
    elsewhere = command == "raw" and (kind not in CONVERSATIONS or way not in CHANGING)
    if (command == "tls" and tls != "starttls") or (command == "framing" and way not in CHANGING) or elsewhere:
        command = "echo"
    sizes = {"big": (5_000, 60_000, 150_000), "many": (1, 3, 20)}.get(command, (0, 0, 10, 300))
    size = min(way.most - 20, dice.choice(sizes))
    rest, change = "", ""
    replies = [reply(number, 0, size)]
    if command == "none":
        replies = []
    elif command == "many":
        count = size if kind in SEVERAL or kind in CONVERSATIONS else 1
        replies = [reply(number, part, 10) for part in range(count)]
    elif command == "framing":
        new = dice.choice(CHANGING)
        rest, change = new.text, f"framing {new.text}"
    elif command == "tls":
        change = "tls"
    elif command == "unread":
        replies = [reply(number, 0, size), reply(f"{number}u", 0, 5)]
    elif command in ENDS and command not in ("bye", "close-other", "abort-other"):
        replies = []
    last = command in ENDS and command not in ("close-other", "abort-other")
    if command in ("close-other", "abort-other"):
        replies = [reply(number, 0, size)]
    padding = "p" * dice.choice((0, 0, 0, 100, 5000))
    octets = asking(number, command, size, rest or padding[: max(0, way.most - 60)])
    return Ask(octets, replies, last, change, b"r" * size if command == "raw" else b"")
