"""The servers that rows name: ours, the floors, and the peers."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.model import Subject

ECHO = Subject("C, echo", "c:echo")
GO = "Go net"
TOKIO = "Rust tokio"
PURE = ", pure Python"


def ours(file: str, *more: str, suffix: str = "") -> tuple[Subject, ...]:
    """fourtuple on both host loops."""
    return tuple(
        Subject(f"fourtuple, {loop}{suffix}", "fourtuple_server", (file, "--loop", loop, *more))
        for loop in ("asyncio", "uvloop")
    )


def without_c(file: str) -> tuple[Subject, ...]:
    """fourtuple without its C."""
    off = (("FOURTUPLE_C", "off"),)
    return tuple(replace(each, name=each.name + PURE, environment=off) for each in ours(file))


def protocols(framing: str, *more: str, suffix: str = "", kind: str = "Protocol") -> tuple[Subject, ...]:
    """Protocol classes on both loops."""
    return tuple(
        Subject(f"{loop} {kind}{suffix}", "protocol", (framing, "--loop", loop, *more))
        for loop in ("uvloop", "asyncio")
    )


def streams(framing: str) -> tuple[Subject, ...]:
    """Streams on both loops."""
    return tuple(Subject(f"{loop} streams", "streams", (framing, "--loop", loop)) for loop in ("uvloop", "asyncio"))


def others(framing: str) -> tuple[Subject, ...]:
    """The other servers."""
    return (
        Subject("gevent StreamServer", "gevent_server", (framing,)),
        Subject("anyio", "anyio_server", (framing,)),
        Subject("Twisted", "twisted_server", (framing,)),
        Subject("socketserver threads", "threads", (framing,)),
    )


def turning(*subjects: Subject) -> tuple[Subject, ...]:
    """The subjects with the handler for large messages."""
    return tuple(replace(each, environment=(*each.environment, ("HANDLER", "turned"))) for each in subjects)


def split(framing: str) -> Subject:
    """The floor in C that does the work of a message server."""
    return Subject("C, splits", "c:split", (framing,))


def native(framing: str) -> tuple[Subject, ...]:
    """Peers that are not Python. Go splits fixed messages on the connection itself, others by bufio."""
    return (Subject(GO, "go", (framing,)), Subject(TOKIO, "rust", (framing,)))


def encrypted() -> tuple[Subject, ...]:
    """The same with TLS."""
    options = ("u32", "--tls", "CERTIFICATE")
    return (Subject("Go crypto/tls", "go", options), Subject("tokio, rustls", "rust", options))
