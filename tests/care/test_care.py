"""`fourtuple care`: the path, what is told and drawn, and a whole run over the kernel's own TCP."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from click.testing import CliRunner

from cli.conftest import ENVIRONMENT, FOURTUPLE
from fourtuple.care.drawing import lines, svg
from fourtuple.care.packets import is_syn, payload_of, turned
from fourtuple.care.path import Path
from fourtuple.care.running import Sample
from fourtuple.care.sentences import events, summary
from fourtuple.cli.care import care
from fourtuple.net.tcpinfo import TcpInfo


def packet(payload: int = 100, flags: int = 0x10) -> bytes:
    """An IPv4 packet with a TCP segment."""
    total = 40 + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 6, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    return head + struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0x50, flags, 5, 6, 7) + bytes(payload)


def checksum(octets: bytes) -> int:
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    return (total & 0xFFFF) + (total >> 16)


# -- packets ----------------------------------------------------------------------------------------------


def test_a_packet_is_turned_and_its_checksum_stays() -> None:
    one = packet()
    back = turned(one)
    assert back is not None
    assert (back[12:16], back[16:20]) == (one[16:20], one[12:16])
    assert turned(back) == one
    assert checksum(back[:20]) == checksum(one[:20])
    assert turned(b"\x60" + bytes(60)) is None  # IPv6
    assert turned(b"short") is None


def test_what_a_segment_carries() -> None:
    assert payload_of(packet(0)) == 0
    assert payload_of(packet(77)) == 77
    assert is_syn(packet(0, flags=0x02))
    assert not is_syn(packet())
    for size in range(45):
        payload_of(packet()[:size])
        is_syn(packet()[:size])


# -- the path ---------------------------------------------------------------------------------------------


def test_a_packet_takes_its_time() -> None:
    path = Path(rate=1400.0, delay=0.5, queue=10_000, loss=0.0)
    path.push(packet(), 10.0)  # 140 octets: a tenth of a second, and the delay
    path.push(packet(), 10.0)
    assert path.queued(10.0) == 280
    assert path.due == pytest.approx(10.6)
    assert path.pop(10.59) == []
    assert path.pop(10.61) == [packet()]
    assert path.pop(20.0) == [packet()]
    assert path.due is None
    assert path.queued(20.0) == 0


def test_a_full_queue_drops() -> None:
    path = Path(rate=1000.0, delay=0.0, queue=300, loss=0.0)
    for _ in range(3):
        path.push(packet(), 1.0)
    assert (path.overflowed, path.lost) == (1, 0)


def test_losses_are_those_of_the_seed_and_spare_what_has_no_data() -> None:
    def lost(seed: int) -> int:
        path = Path(rate=1e9, delay=0.0, queue=1 << 30, loss=0.1, seed=seed)
        for _ in range(1000):
            path.push(packet(), 1.0)
            path.push(packet(0), 1.0)
            path.push(packet(flags=0x02), 1.0)
        assert len(path.pop(2.0)) == 3000 - path.lost
        return path.lost

    assert lost(1) == lost(1)
    assert 50 < lost(1) < 150


# -- telling and drawing ----------------------------------------------------------------------------------

SAMPLE = Sample(0.0, replace(TcpInfo.decode(bytes(248)), state=1, snd_cwnd=10, snd_wnd=1000), 0, 1, True, True, 0, 0, 0)


def sample(time: float, *, reading: bool = True, intact: bool = True, **info: int) -> Sample:
    return replace(SAMPLE, time=time, info=replace(SAMPLE.info, **info), reading=reading, intact=intact)


def test_what_happened_is_reported_in_order() -> None:
    run = [
        sample(0.0, state=2, snd_wnd=0),
        sample(0.1),
        sample(0.2, ca_state=3, snd_cwnd=7),
        sample(0.3, ca_state=4, snd_cwnd=1),
        sample(0.4, reading=False),
        sample(0.5, reading=False, snd_wnd=0),
        sample(0.6, snd_wnd=0),
        sample(0.7, snd_wnd=4000),
    ]
    told = [event.text for event in events(run)]
    beginnings = [
        "connected: the window begins with 10 segments",
        "a gap in the acknowledgements: the missing segment is sent again at once; window 10 -> 7",
        "a timeout: nothing was acknowledged for so long",
        "the reader stops reading",
        "the receive window is closed",
        "the reader reads again",
        "the receive window is open again: 4,000 octets",
    ]
    assert [text.startswith(begin) for text, begin in zip(told, beginnings, strict=True)] == [True] * 7
    assert summary(run).endswith("Every octet came once, and in order.")
    assert summary([*run, sample(0.8, intact=False)]).endswith("OCTETS ARE MISSING.")


def test_one_is_reported_as_one() -> None:
    told = lines([sample(0.0), sample(0.1, snd_cwnd=1, unacked=2, rtt=1000)], 100)
    assert told[0].endswith(" 1 segment")
    assert told[1].endswith(" 2 segments")
    assert told[3].endswith(" 1 ms")


def test_no_line_is_wider_than_the_terminal() -> None:
    run = [sample(number / 10, snd_cwnd=number) for number in range(200)]
    for width in (60, 80, 200):
        assert max(map(len, lines(run, width))) <= width
    assert lines([], 80) == []
    assert "█" in lines(run, 80)[0]


def test_svg_has_a_title_and_says_what_it_shows() -> None:
    run = [sample(0.0), sample(0.5, reading=False), sample(1.0)]
    drawn = svg(run, list(events(run)), "a <title>")
    assert drawn.startswith("<svg ")
    assert "<title>a &lt;title&gt;</title>" in drawn
    assert "the reader stops reading" in drawn
    assert drawn.count("<polyline") == 6


# -- a whole run ------------------------------------------------------------------------------------------


def cared(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*FOURTUPLE, "care", *arguments], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    if done.returncode == 3:
        pytest.skip(f"no namespace or no tun device to be had here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return done


def test_losses_are_repaired_and_the_window_closes_and_opens() -> None:
    found: list[dict[str, Any]] = json.loads(
        cared("--seconds", "4", "--loss", "5", "--rate", "4000", "--delay", "5", "--json").stdout
    )
    assert found[-1]["lost"] > 0
    assert found[-1]["retransmitted"] >= 1
    assert found[-1]["read"] > 0
    closed = [each["time"] for each in found if not each["reading"] and each["receive_window"] == 0]
    opened = [each["time"] for each in found if each["receive_window"] and closed and each["time"] > closed[0]]
    assert closed
    assert opened


def test_a_run_for_people(tmp_path: FilePath) -> None:
    done = cared("--seconds", "1.5", "--rate", "4000", "--delay", "5", "--svg", str(tmp_path / "run.svg"))
    assert "the reader stops reading: its buffer fills" in done.stdout
    assert "Every octet came once, and in order." in done.stdout
    assert (tmp_path / "run.svg").read_text().endswith("</svg>\n")
    done = subprocess.run(
        [*FOURTUPLE, "care", "--seconds", "0.5", "--svg", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "is a directory" in done.stderr
    assert done.stdout == "", "it is known before the run"
    nowhere = str(tmp_path / "no" / "run.svg")
    done = subprocess.run([*FOURTUPLE, "care", "--svg", nowhere], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fourtuple: --svg {nowhere}: No such file or directory\n"


@pytest.mark.parametrize("option", ["--loss", "--delay", "--rate", "--seconds"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x"])
def test_numbers_that_are_none(option: str, value: str) -> None:
    done = CliRunner().invoke(care, [option, value])
    assert done.exit_code == 2
    assert f", got {value!r}" in done.output


def test_a_run_in_which_nothing_came_is_no_success() -> None:
    assert summary([replace(sample(0.1), read=0)]).endswith("Nothing came.")
