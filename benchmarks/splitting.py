"""The gain of the splitters in C: ``python -m benchmarks.splitting``, about a minute.

For each framing, both decoders get the same reads, in turns within a round, and the ratio is made within a round.
Medians are printed. Nanoseconds are the CPU time of the thread for one message.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import thread_time_ns
from typing import Any

from fourtuple.framing import Decoder, Framing, parse_framing

ROUNDS = 31
#: About the number of messages of a round.
MESSAGES = 2000
WORK = {
    "fixed:16": bytes(16),
    "u32": bytes(64),
    "line": b"x" * 63,
    "line:crlf": b"x" * 62,
    "delimited:#|;": b"x" * 63,
    "netstring": bytes(64),
    "syslog": b"x" * 64,
    "resp": [b"SET", b"key:000001", b"a value"],
}
LARGE = 1 << 20


def spent(decoder: Decoder, reads: list[bytes], times: int) -> int:
    """The nanoseconds for feeding ``reads`` ``times`` times, in the same way as a connection."""
    feed, settle = decoder.feed, decoder.settle
    began = thread_time_ns()
    for _ in range(times):
        for read in reads:
            feed(read, 1024)
            settle()
    return thread_time_ns() - began


def encoded(encode: Callable[[list[Any]], bytes], messages: list[Any], times: int) -> int:
    began = thread_time_ns()
    for _ in range(times):
        encode(messages)
    return thread_time_ns() - began


def row(name: str, c: Callable[[], int], python: Callable[[], int], messages: int) -> None:
    c(), python()
    pairs = [(c(), python()) for _ in range(ROUNDS)]
    ratio = statistics.median(python / c for c, python in pairs)
    mine, its = (statistics.median(each) / messages for each in zip(*pairs, strict=True))
    print(f"{name:<34} {mine:>12,.0f} {its:>12,.0f} {ratio:>8.1f}", flush=True)


def measure(framing: Framing, message: Any, count: int) -> None:
    reads = [framing.encode_many([message] * count)]
    times = max(1, MESSAGES // count)
    python, c = framing.reference(), framing.decoder()
    row(
        f"{framing}, {count} a read", lambda: spent(c, reads, times), lambda: spent(python, reads, times), times * count
    )


def measure_encoding(framing: Any, message: Any, count: int) -> None:
    messages = [message] * count
    times = max(1, MESSAGES // count)
    row(
        f"{framing}, {count} written",
        lambda: encoded(framing.encode_many, messages, times),
        lambda: encoded(framing._encode_many, messages, times),
        times * count,
    )


def measure_large(framing: Framing, size: int) -> None:
    octets = framing.encode(bytes(LARGE))
    reads = [octets[at : at + size] for at in range(0, len(octets), size)]
    python, c = framing.reference(), framing.decoder()
    row(f"{framing}, 1 MiB, reads of {size >> 10} KiB", lambda: spent(c, reads, 3), lambda: spent(python, reads, 3), 3)


def main() -> None:
    print(f"{'':<34} {'C, ns':>12} {'Python, ns':>12} {'ratio':>8}")
    for text, message in WORK.items():
        framing = parse_framing(text)
        for count in (1, 32):
            measure(framing, message, count)
        if not isinstance(message, list):
            measure_encoding(framing, message, 32)
    for text in ("u32", "netstring", "line"):
        for size in (64 << 10, 256 << 10):
            measure_large(parse_framing(text + ",max_message=2m"), size)


if __name__ == "__main__":
    main()
