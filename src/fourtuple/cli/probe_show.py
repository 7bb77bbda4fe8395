"""How a probe is shown. PURE: lines and values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median
from textwrap import wrap
from typing import Any

from fourtuple.errors import FourTupleError
from fourtuple.inspector.units import bars, seconds
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.printable import printable, text_without
from fourtuple.probing.result import Attempt, Connected, Found, Heard, Resolved, Tls
from fourtuple.probing.verdict import Verdict
from fourtuple.probing.x509 import Certificate

_WIDTH = 100
#: As many octets of the peer's first ones are shown.
_OCTETS = 60


def lines(found: Found, judged: Verdict, now: datetime) -> Iterator[str]:
    """Yield all that one probe found; ``now`` is for the age of certificates."""
    yield printable(found.address)
    for name, text in _rows(found, now):
        yield from _row(name, text)
    yield ""
    yield verdict_line(judged)
    yield from wrap(printable(judged.advice), _WIDTH)


def verdict_line(judged: Verdict) -> str:
    """The verdict, with how sure it is."""
    return printable(f"{judged.word}: {judged.text} ({judged.sure})")


def _row(name: str, text: str) -> Iterator[str]:
    first, *more = wrap(printable(text), _WIDTH - 12) or [""]
    yield f"  {name:9} {first}".rstrip()
    for line in more:
        yield f"  {'':9} {line}"


def _rows(found: Found, now: datetime) -> Iterator[tuple[str, str]]:
    if found.resolved is not None and not found.resolved.literal:
        yield "name", _resolved(found.resolved)
    for number, attempt in enumerate(found.attempts):
        yield "" if number else "tried", _attempt(attempt)
    if found.connected is not None:
        yield from _connected(found.connected)
    if found.tls is not None:
        yield from _tls(found.tls, found.connected, now)
    if found.heard is not None:
        yield "heard", _heard(found.heard)


def _resolved(resolved: Resolved) -> str:
    if resolved.error is not None:
        return f"not resolved in {seconds(resolved.seconds)}: {resolved.error.detail or resolved.error.meaning}"
    return (
        f"{len(resolved.addresses)} address{'' if len(resolved.addresses) == 1 else 'es'} in "
        f"{seconds(resolved.seconds)}"
    )


def _attempt(attempt: Attempt) -> str:
    after = f", begun after {seconds(attempt.started)}" if attempt.started >= 0.001 else ""
    if attempt.connected:
        return f"{attempt.address}: connected in {seconds(attempt.seconds)}{after}"
    if attempt.error is not None:
        return f"{attempt.address}: {attempt.error.meaning} in {seconds(attempt.seconds)}{after}"
    return f"{attempt.address}: no answer in {seconds(attempt.seconds)}{after}"


def _connected(made: Connected) -> Iterator[tuple[str, str]]:
    route = made.route
    way = ""
    if route is not None:
        gateway = f" over {route.gateway}" if route.gateway else ", this machine" if route.here else ", on the link"
        way = f", by {route.interface}{gateway}" if route.interface else gateway
    yield "local", f"{made.local or 'unknown'}{way}"
    if made.info is not None:
        yield "tcp", _tcp(made.info)


def _tcp(info: TcpInfo) -> str:
    agreed = info.agreed
    scaling = (
        f"window scaling {info.snd_wscale}/{info.rcv_wscale}" if "window scaling" in agreed else "no window scaling"
    )
    rest = [name if name in agreed else f"no {name}" for name in ("sack", "timestamps", "ecn")]
    again = f"; the SYN was sent {info.total_retrans + 1} times" if info.total_retrans else ""
    words = ", ".join([scaling, *rest]).replace("sack", "SACK").replace("ecn", "ECN")
    return f"round trip {seconds(info.rtt / 1e6)}; MSS {info.snd_mss}, {words}{again}"


def _tls(tls: Tls, made: Connected | None, now: datetime) -> Iterator[tuple[str, str]]:
    if tls.version:
        alpn = f", ALPN {tls.alpn}" if tls.alpn else ""
        yield "tls", f"{tls.version}, {tls.cipher}{alpn} in {seconds(tls.seconds)}"
    if tls.error is not None:
        name = "" if made is None else f"{made.local} <- {made.remote}"
        yield "" if tls.version else "tls", text_without(name, tls.error)
    if tls.certificate is not None:
        yield from _certificate(tls.certificate, now, verified=tls.verified)


def _certificate(certificate: Certificate, now: datetime, *, verified: bool) -> Iterator[tuple[str, str]]:
    days = (certificate.not_after - now).days
    left = f"{days} days left" if days >= 0 else f"{-days} days ago"
    yield "cert", f"for {', '.join(certificate.names) or certificate.subject}"
    yield "", f"until {certificate.not_after:%Y-%m-%d %H:%M} UTC ({left})"
    by = "itself" if certificate.self_signed else certificate.issuer
    yield "", f"signed by {by}; {'verified' if verified else 'not verified'}"


def _heard(heard: Heard) -> str:
    if heard.octets:
        shown = heard.octets[:_OCTETS]
        more = "" if len(shown) == len(heard.octets) else " ..."
        whole = ", a whole message" if heard.messages else ""
        then = f", then {heard.end}" if heard.end and heard.end != "framing" else ""
        return f"{shown!r}{more} after {seconds(heard.seconds)}{whole}{then}"
    if heard.end == "silence":
        return f"nothing in {seconds(heard.seconds)}"
    return f"{heard.end} after {seconds(heard.seconds)}"


# -- several ----------------------------------------------------------------------------------------------


def short_line(number: int, found: Found, judged: Verdict) -> str:
    """One line for one of several probes."""
    took = "" if found.connected is None else f" in {seconds(found.connected.seconds)}"
    return printable(f"{number:4}  {judged.word}{took}")


def summary(founds: Sequence[Found], over: Verdict) -> Iterator[str]:
    """Yield the times as a picture, their numbers, and the verdict over all."""
    times = [found.connected.seconds for found in founds if found.connected is not None]
    yield f"connected {len(times)} of {len(founds)}"
    if times:
        drawn = bars([None if found.connected is None else found.connected.seconds for found in founds])
        yield f"{drawn}  (how long each took; x is not connected)"
        low, middle, high = min(times), median(times), max(times)
        yield f"least {seconds(low)}, median {seconds(middle)}, most {seconds(high)}"
    yield ""
    yield verdict_line(over)
    yield from wrap(printable(over.advice), _WIDTH)


# -- for programs -----------------------------------------------------------------------------------------


def as_dict(found: Found, judged: Verdict) -> dict[str, Any]:
    """All that was found, and the verdict, as values for JSON. Times are seconds; octets are hexadecimal."""
    return {
        "address": found.address,
        "verdict": judged.word,
        "text": judged.text,
        "sure": judged.sure,
        "exit_code": judged.code,
        **{
            name: _plain(getattr(found, name))
            for name in ("resolved", "attempts", "connected", "tls", "heard", "expected", "timeout", "error")
        },
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, FourTupleError):
        return {"kind": type(value).__name__, "text": str(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
