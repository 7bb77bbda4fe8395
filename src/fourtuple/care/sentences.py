"""PURE: what happened between samples, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fourtuple.care.running import Sample

#: tcpi_ca_state of linux/tcp.h.
_RECOVERY, _LOSS = 3, 4


@dataclass(frozen=True, slots=True)
class Event:
    """Something that TCP did, and why."""

    time: float
    text: str


def events(samples: Iterable[Sample]) -> Iterator[Event]:
    """Yield what happened, in order."""
    before: Sample | None = None
    for sample in samples:
        if before is not None:
            for text in _between(before, sample):
                yield Event(sample.time, text)
        before = sample


def _between(old: Sample, new: Sample) -> Iterator[str]:
    if old.info.state_name != "ESTABLISHED" and new.info.state_name == "ESTABLISHED":
        yield f"connected: the window begins with {new.info.snd_cwnd} segments, and grows with each acknowledgement"
    if old.reading and not new.reading:
        yield "the reader stops reading: its buffer fills"
    if new.reading and not old.reading:
        yield "the reader reads again: its window opens"
    if old.info.snd_wnd and new.info.snd_wnd == 0:
        yield "the receive window is closed: nothing may be sent, the kernel asks now and then (zero-window probe)"
    if old.info.state_name == "ESTABLISHED" and old.info.snd_wnd == 0 and new.info.snd_wnd:
        yield f"the receive window is open again: {new.info.snd_wnd:,} octets"
    if new.info.ca_state == _RECOVERY and old.info.ca_state != _RECOVERY:
        yield _recovery(old, new)
    if new.info.ca_state == _LOSS and old.info.ca_state != _LOSS:
        yield "a timeout: nothing was acknowledged for so long that all is sent again, slowly"


def _recovery(old: Sample, new: Sample) -> str:
    window = "" if new.info.snd_cwnd >= old.info.snd_cwnd else f"; window {old.info.snd_cwnd} -> {new.info.snd_cwnd}"
    return f"a gap in the acknowledgements: the missing segment is sent again at once{window}"


def summary(samples: Sequence[Sample]) -> str:
    """Return the numbers of the whole run."""
    last = samples[-1]
    info = last.info
    share = f" ({info.total_retrans / info.data_segs_out:.1%})" if info.data_segs_out else ""
    return (
        f"{last.read:,} octets arrived in {last.time:.1f} s; {info.data_segs_out or 0:,} segments were sent, "
        f"{info.total_retrans:,} of them again{share}; the path lost {last.lost:,} and its queue dropped "
        f"{last.overflowed:,}. {_outcome(last)}"
    )


def _outcome(last: Sample) -> str:
    if not last.intact:
        return "OCTETS ARE MISSING."
    return "Every octet came once, and in order." if last.read else "Nothing came."
