"""``fourtuple care``: TCP's own care, made visible."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.terminal import is_terminal

if TYPE_CHECKING:
    from fourtuple.care.running import Sample, Settings

_HOW = (
    "It makes a network namespace and a tun device in it. That needs root, or unprivileged user namespaces and "
    "/dev/net/tun; containers often have neither."
)
_WIDTH = 100


@click.command()
@click.option("--seconds", type=types.seconds(), default=10.0, metavar="SECONDS", help="How long.  [10]")
@click.option("--loss", type=types.number(0, 50), default=2.0, metavar="PERCENT", help="Segments lost.  [2]")
@click.option("--delay", type=types.number(0, 2000), default=30.0, metavar="MS", help="One way, in ms.  [30]")
@click.option("--rate", type=types.number(8, 10_000), default=1000.0, metavar="KBIT", help="Kilobits a second.  [1000]")
@click.option("--seed", type=int, default=1, metavar="N", help="Of chance: the same one loses the same.  [1]")
@click.option("--svg", type=types.output(), metavar="FILE", help="Also draw the run as SVG.")
@click.option("--json", "as_json", is_flag=True, help="Print the samples as JSON instead.")
def care(seconds: float, loss: float, delay: float, rate: float, seed: int, svg: Path | None, as_json: bool) -> None:
    """Show how TCP cares for one connection over a slow path that loses segments.

    Both ends are the kernel's own TCP; the path between them is this program, in a network namespace of its own, so
    nothing on this machine notices. Half-way through, the reader stops for a while: its window closes, and opens again.

    Drawn live on a terminal: the congestion window, what is on the way, the receive window, round trips, and what is
    sent again.

    Exit codes: 0 done, 1 the SVG could not be written, 2 usage, 3 there is no namespace or no device to be had.
    """
    from fourtuple.care.running import Settings  # only here: --help needs no sockets

    settings = Settings(
        rate=rate * 125, delay=delay / 1000, loss=loss / 100, duration=seconds, seed=seed, every=min(0.1, seconds / 50)
    )
    samples = _run(settings, live=is_terminal(sys.stdout) and not as_json)
    if as_json:
        click.echo(json.dumps([as_dict(sample) for sample in samples]))
    else:
        _tell(samples)
    if svg is not None:
        _draw(samples, svg)


def _run(settings: Settings, *, live: bool) -> list[Sample]:
    from fourtuple.care.drawing import lines
    from fourtuple.care.running import run
    from fourtuple.care.tunnel import enter_namespace

    samples: list[Sample] = []
    try:
        enter_namespace()
        for sample in run(settings):
            samples.append(sample)
            if live:
                drawn = lines(samples, shutil.get_terminal_size().columns)
                up = f"\x1b[{len(drawn)}A" if len(samples) > 1 else ""
                click.echo(up + "\n".join(f"\x1b[2K{line}" for line in drawn))
    except OSError as error:
        raise Failure(f"no path can be made here: {error.strerror or error}", Exit.NO_START, _HOW) from error
    if len(samples) < 2:
        raise Failure("no sample was taken in that time: give more --seconds", Exit.USAGE)
    return samples


def _tell(samples: list[Sample]) -> None:
    from fourtuple.care.drawing import lines
    from fourtuple.care.sentences import events, summary

    if not is_terminal(sys.stdout):
        click.echo("\n".join(lines(samples, _WIDTH)))
    click.echo()
    for event in events(samples):
        click.echo(f"{event.time:5.1f} s  {event.text}")
    click.echo()
    click.echo(summary(samples))


def _draw(samples: list[Sample], path: Path) -> None:
    from fourtuple.care.drawing import svg
    from fourtuple.care.sentences import events

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg(samples, list(events(samples)), "One TCP connection over a slow path that loses segments"))
    except OSError as error:
        raise Failure(f"--svg {path}: {error.strerror or error}", Exit.FAILED) from error


def as_dict(sample: Sample) -> dict[str, float | int | bool | None]:
    """PURE: a sample for JSON."""
    info = sample.info
    return {
        "time": sample.time,
        "congestion_window": info.snd_cwnd,
        "unacked": info.unacked,
        "receive_window": info.snd_wnd,
        "rtt": info.rtt / 1e6,
        "retransmitted": info.total_retrans,
        "read": sample.read,
        "reading": sample.reading,
        "lost": sample.lost,
        "overflowed": sample.overflowed,
        "send_queue": sample.send_queue,
    }
