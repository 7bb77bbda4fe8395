"""PURE: what a probe's findings mean: one verdict, how sure it is, and what to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fourtuple.errors import (
    ConnectError,
    ConnectForbidden,
    ConnectRefused,
    ConnectReset,
    ConnectTimeout,
    DeadlinePassed,
    HostUnreachable,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NameNotFound,
    NetworkUnreachable,
    NoLocalPort,
    PeerReset,
    TlsCertificateRefused,
    TlsExpected,
)
from fourtuple.probing.result import Found, Heard, Tls
from fourtuple.tls.layer import PERHAPS_PLAIN

#: How sure.
CERTAIN, LIKELY, OPEN = "certain", "likely", "cannot be told from here"

#: Exit codes, as those of ``fourtuple connect``: 0 reached, 1 the peer failed, 3 cannot connect, 4 no answer in time.
REACHED, PEER, NOT_CONNECTED, NO_ANSWER = 0, 1, 3, 4

_EXPIRED, _NOT_YET, _NAMES, _SELF_SIGNED, _UNKNOWN_ISSUER = (10,), (9,), (62, 64), (18, 19), (2, 20, 21)


#: A reset that comes so many seconds after the handshake, before anything was exchanged, comes at once.
_AT_ONCE = 0.5


def reset_at_once(*, sent: bool, seconds: float) -> bool:
    """Return whether a reset before the first octet of the peer came at once, and before it was sent anything."""
    return not sent and seconds < _AT_ONCE


def why_reset(*, sent: bool) -> str:
    """Return what a reset means that did not come at once, or came after something was sent."""
    if sent:
        return (
            "The peer took the connection and reset it: it found the message broken, failed on it, or ended before it "
            "answered. Its log may say why. If it came in the same moment, an address filter or a balancer without a "
            "live server is as likely."
        )
    return (
        "The peer, or something on the way, ended a connection on which nothing was said: a deadline for the first "
        "message, a server that ended, or a balancer or NAT that has forgotten it."
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """``word`` is for scripts, ``text`` for people; ``sure`` says how sure it is; ``code`` is the exit code."""

    word: str
    text: str
    sure: str
    code: int
    advice: str = ""


_CONNECT: tuple[tuple[type[ConnectError], str, str, int], ...] = (
    (ConnectRefused, "refused", CERTAIN, NOT_CONNECTED),
    (ConnectReset, "reset", CERTAIN, NOT_CONNECTED),
    (HostUnreachable, "host-unreachable", CERTAIN, NOT_CONNECTED),
    (NetworkUnreachable, "network-unreachable", CERTAIN, NOT_CONNECTED),
    (NameNotFound, "no-such-name", CERTAIN, NOT_CONNECTED),
    (NoLocalPort, "no-local-port", CERTAIN, NOT_CONNECTED),
    (LocalAddressInUse, "local-address-in-use", CERTAIN, NOT_CONNECTED),
    (LocalAddressUnavailable, "no-such-local-address", CERTAIN, NOT_CONNECTED),
    (ConnectForbidden, "forbidden", CERTAIN, NOT_CONNECTED),
)


_NOT_ACCEPTED = Verdict(
    "not-accepted", "connected, nothing heard: it waits in the accept queue, the server has not accepted it",
    CERTAIN, NO_ANSWER,
    "The server is on this machine: it is stopped, blocked, or too slow. fourtuple sockets --listening shows it.",
)  # fmt: skip

#: Where the class of the error says no more than the word.
_TEXTS = {
    "refused": "the host answered the SYN with a reset: no socket listens there",
    "reset": "connected, and reset at once",
}


def verdict(found: Found, now: datetime) -> Verdict:
    """Return the verdict over one probe; ``now`` is for certificates."""
    if found.resolved is not None and found.resolved.error is not None:
        return _of_error(found.resolved.error)
    if found.connected is None:
        return _not_connected(found)
    if found.tls is not None and found.tls.error is not None:
        unanswered = isinstance(found.tls.error, DeadlinePassed)
        return _NOT_ACCEPTED if unanswered and found.connected.waits_for_accept else _tls(found.tls, now)
    return _heard(found, found.heard)


def _of_error(error: ConnectError) -> Verdict:
    if isinstance(error, ConnectTimeout):  # of the name server
        return Verdict("name-unanswered", str(error), CERTAIN, NO_ANSWER, "The name server did not answer in time.")
    for kind, word, sure, code in _CONNECT:
        if isinstance(error, kind):
            return Verdict(word, f"{_TEXTS.get(word, error.meaning)}{_detail(error)}", sure, code, error.explanation)
    return Verdict("failed", str(error), CERTAIN, NOT_CONNECTED, error.explanation)


def _detail(error: ConnectError) -> str:
    return f" ({error.detail})" if error.detail else ""


def _not_connected(found: Found) -> Verdict:
    errors = [each.error for each in found.attempts if each.error is not None]
    full = next((each.full_queue for each in found.attempts if each.full_queue is not None), None)
    if full is not None:
        waiting, limit = full
        return Verdict(
            "queue-full",
            f"the accept queue is full: {waiting} waiting, with a backlog of {limit}",
            CERTAIN,
            NO_ANSWER,
            "The server is on this machine and listens, but does not accept: it is stopped, blocked or too slow. "
            "The kernel drops each SYN until it accepts one; later attempts may succeed.",
        )
    told = [error for error in errors if not isinstance(error, ConnectTimeout)]
    if told and len(told) == len(found.attempts):
        return _of_error(told[0])
    silent = [each for each in found.attempts if each.error is None or isinstance(each.error, ConnectTimeout)]
    if silent:
        return Verdict(
            "unanswered",
            f"no answer to the SYN in {found.timeout:g} s",
            OPEN,
            NO_ANSWER,
            "A firewall drops the SYN without a word, the host is down, the way back is broken, or the accept queue of "
            "the server is full. The last one answers now and then: --count 10 tells it from the others. A port that "
            "is merely closed would have answered with a reset.",
        )
    error = found.error
    return (
        _of_error(error) if isinstance(error, ConnectError) else Verdict("failed", str(error), CERTAIN, NOT_CONNECTED)
    )


def _tls(tls: Tls, now: datetime) -> Verdict:
    error, certificate = tls.error, tls.certificate
    if isinstance(error, TlsExpected):
        return Verdict(
            "no-tls", "the peer speaks no TLS here: it answered in plain text", CERTAIN, NOT_CONNECTED,
            "Probe without --tls, or at the port of TLS. Some protocols begin in plain text (STARTTLS).",
        )  # fmt: skip
    if isinstance(error, TlsCertificateRefused):
        if tls.code in _EXPIRED:
            days = "" if certificate is None else f" {(now - certificate.not_after).days} days ago"
            return Verdict("certificate-expired", f"the certificate has expired{days}", CERTAIN, NOT_CONNECTED,
                           "The server needs a new one; or the clock of this machine is wrong.")  # fmt: skip
        if tls.code in _NOT_YET:
            return Verdict("certificate-not-yet", "the certificate is not valid yet", CERTAIN, NOT_CONNECTED,
                           "The clock of this machine, or of the one that made it, is wrong.")  # fmt: skip
        if tls.code in _NAMES:
            names = "other names" if certificate is None else ", ".join(certificate.names) or certificate.subject
            return Verdict("certificate-name", f"the certificate is for {names}", CERTAIN, NOT_CONNECTED,
                           "Ask for one of its names (--server-name), or the wrong server answers here.")  # fmt: skip
        if tls.code in _SELF_SIGNED + _UNKNOWN_ISSUER:
            return Verdict("certificate-untrusted", "the certificate was not signed by a trusted authority",
                           CERTAIN, NOT_CONNECTED, "Give its authority with --tls-ca.")  # fmt: skip
        return Verdict("certificate-refused", str(error), CERTAIN, NOT_CONNECTED)
    if isinstance(error, DeadlinePassed):
        return Verdict(
            "tls-unanswered", f"connected, and no answer to the TLS handshake in {tls.seconds:.1f} s", OPEN, NO_ANSWER,
            "The peer speaks no TLS and waits for more, is slow, or has never accepted the connection.",
        )  # fmt: skip
    if isinstance(error, PeerReset):
        return Verdict("reset", "connected, and reset during the TLS handshake", CERTAIN, NOT_CONNECTED,
                       ConnectReset.explanation)  # fmt: skip
    # The text of an error is one sentence. Here what is certain is the verdict, and the guess is advice.
    fact = str(error).removesuffix(PERHAPS_PLAIN)
    guess = "" if fact == str(error) else "Perhaps it does not use TLS at this port: probe without --tls."
    return Verdict("tls-failed", fact, CERTAIN, NOT_CONNECTED, guess)


def _heard(found: Found, heard: Heard | None) -> Verdict:
    connected = found.connected
    assert connected is not None
    if heard is None:
        return Verdict("open", "connected", CERTAIN, REACHED)
    if heard.octets:
        return _spoke(heard)
    if heard.end == "reset" and not reset_at_once(sent=heard.sent > 0, seconds=heard.seconds):
        did = f", sent {_octets(heard.sent)}" if heard.sent else ", nothing sent"
        text = f"connected{did}, and reset after {heard.seconds:.1f} s before an octet came"
        return Verdict("reset-later", text, CERTAIN, PEER, why_reset(sent=heard.sent > 0))
    if heard.end == "reset":
        return Verdict("reset", "connected, and reset before an octet came", CERTAIN, NOT_CONNECTED,
                       ConnectReset.explanation)  # fmt: skip
    if heard.end == "end of file":
        return Verdict(
            "closed", "connected, and closed by the peer without an octet", CERTAIN, PEER,
            "The server accepts and closes: it is draining, at a limit, or does not want this client.",
        )  # fmt: skip
    if connected.waits_for_accept:
        return _NOT_ACCEPTED
    if found.tls is not None:
        # The server has taken part in a handshake: it has accepted.
        return _quiet(found, "the TLS handshake shows that it was accepted")
    if connected.waits_for_accept is False:
        return _quiet(found, "it was accepted, as the other end on this machine shows")
    if found.expected:
        return Verdict(
            "silent", f"connected, nothing heard in {heard.seconds:.1f} s: perhaps never accepted", OPEN, NO_ANSWER,
            "The kernel over there answers for the server: a connection in its accept queue looks like this. Or the "
            "server waits for more, expects another protocol, or is slow.",
        )  # fmt: skip
    return Verdict(
        "open", "connected, nothing heard: perhaps never accepted", OPEN, REACHED,
        "Many servers wait for the client's first message. --send one, and an answer is expected.",
    )  # fmt: skip


def _spoke(heard: Heard) -> Verdict:
    """Return the verdict if octets came."""
    if heard.end == "framing":
        return Verdict("broken-framing", f"answered, but not in this framing: {heard.error}", CERTAIN, PEER)
    if heard.end == "silence":
        return Verdict(
            "incomplete", "answered, but a part of a message came, and then no more", CERTAIN, NO_ANSWER,
            "The server uses another framing, or is slow (--wait).",
        )  # fmt: skip
    if heard.end:
        return Verdict(
            "incomplete", f"answered, but a part of a message came, and then {_ENDS[heard.end]}", CERTAIN, PEER,
            "The server uses another framing, or has failed.",
        )  # fmt: skip
    return Verdict("answered", "connected, and the peer speaks", CERTAIN, REACHED)


_ENDS = {"reset": "a reset", "lost": "the network failed", "end of file": "the end of file"}


def _octets(number: int) -> str:
    return f"{number} octet{'' if number == 1 else 's'}"


def _quiet(found: Found, how: str) -> Verdict:
    if found.expected:
        return Verdict("silent", f"connected, nothing heard; {how}", CERTAIN, NO_ANSWER,
                       "The server got what was sent and says nothing: it waits for more, or is slow.")  # fmt: skip
    return Verdict("open", f"connected; the server waits for the client's first message ({how})", CERTAIN, REACHED)


def verdict_over(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict over several probes of one address: the worst; a mixture of answers and silence says more."""
    silent = [each for each in verdicts if each.word == "unanswered"]
    reached = [each for each in verdicts if each.word != "unanswered"]
    if silent and reached:
        return Verdict(
            "sometimes", f"{len(silent)} of {len(verdicts)} SYNs were not answered", LIKELY, NO_ANSWER,
            "It is there, and drops some: its accept queue is full most of the time, or the path loses segments. "
            "Retransmissions of connections to it (fourtuple sockets) tell the one from the other.",
        )  # fmt: skip
    return max(verdicts, key=lambda each: each.code)
