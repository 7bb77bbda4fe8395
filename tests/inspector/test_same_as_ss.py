"""Field by field as ss(8) of iproute2 shows a quiet set of sockets at the same moment."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from fourtuple.inspector import sockets
from fourtuple.inspector.model import ActiveSocket, Memory, PassiveSocket, Snapshot
from fourtuple.net.tcpinfo import TcpInfo
from inspector.scenes import Pair, port_of

pytestmark = pytest.mark.peers

#: What ss names, and where it stands here. Times are milliseconds with it, with three digits; ages are told apart.
NUMBERS: dict[str, Callable[[TcpInfo], float | None]] = {
    "rto": lambda info: info.rto / 1000,
    "ato": lambda info: info.ato / 1000,
    "mss": lambda info: info.snd_mss,
    "pmtu": lambda info: info.pmtu,
    "rcvmss": lambda info: info.rcv_mss,
    "advmss": lambda info: info.advmss,
    "cwnd": lambda info: info.snd_cwnd,
    "ssthresh": lambda info: info.snd_ssthresh,
    "bytes_sent": lambda info: info.bytes_sent,
    "bytes_retrans": lambda info: info.bytes_retrans,
    "bytes_acked": lambda info: info.bytes_acked,
    "bytes_received": lambda info: info.bytes_received,
    "segs_out": lambda info: info.segs_out,
    "segs_in": lambda info: info.segs_in,
    "data_segs_out": lambda info: info.data_segs_out,
    "data_segs_in": lambda info: info.data_segs_in,
    "delivered": lambda info: info.delivered,
    "unacked": lambda info: info.unacked,
    "lost": lambda info: info.lost,
    "sacked": lambda info: info.sacked,
    "dsack_dups": lambda info: info.dsack_dups,
    "rcv_rtt": lambda info: info.rcv_rtt / 1000,
    "rcv_space": lambda info: info.rcv_space,
    "rcv_ssthresh": lambda info: info.rcv_ssthresh,
    "notsent": lambda info: info.notsent_bytes,
    "minrtt": lambda info: None if info.min_rtt is None else info.min_rtt / 1000,
    "snd_wnd": lambda info: info.snd_wnd,
}
AGES: dict[str, Callable[[TcpInfo], int]] = {
    "lastsnd": lambda info: info.last_data_sent,
    "lastrcv": lambda info: info.last_data_recv,
    "lastack": lambda info: info.last_ack_recv,
}
MEMORY = {
    "r": "receive_used", "rb": "receive_limit", "t": "send_used", "tb": "send_limit", "f": "forward",
    "w": "send_queued", "o": "options", "bl": "backlog", "d": "drops",
}  # fmt: skip


def ss(path: str, ports: list[int]) -> dict[str, str]:
    """The lines of ss for these ports, by "local peer"."""
    where = " or ".join(f"sport = :{port} or dport = :{port}" for port in ports)
    done = subprocess.run(
        [path, "-tainmpoeOH", where], capture_output=True, text=True, check=True, env={"LC_ALL": "C", "COLUMNS": "999"}
    )
    lines = {}
    for line in done.stdout.splitlines():
        fields = line.split()
        lines[f"{fields[3]} {fields[4]}"] = line
    return lines


def seen_at(ports: list[int]) -> Snapshot:
    return sockets(f"port in {', '.join(map(str, ports))}")


def test_every_number_is_that_of_ss(require_program: Callable[[str], str]) -> None:
    path = require_program("ss")
    with ExitStack() as stack:
        pair = Pair(stack)
        pair.here.sendall(b"x" * 5000)
        assert pair.there.recv(1000)
        pair.there.sendall(b"hello")
        assert pair.here.recv(100) == b"hello"
        stack.enter_context(socket.create_connection(pair.listener.getsockname()))  # waits
        ended = Pair(stack)
        ended.here.close()
        ended.there.close()
        ports = [pair.port, ended.port, *listening_for_ipv6(stack)]
        # Until nothing has moved between two looks: a delayed acknowledgement may still be on its way.
        while True:
            before = seen_at(ports)
            lines = ss(path, ports)
            after = seen_at(ports)
            if still(before) == still(after):
                break
    compare(before, lines, after)


def listening_for_ipv6(stack: ExitStack) -> list[int]:
    """The port of a listener at ::1, where there is IPv6."""
    try:
        return [port_of(stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=7)))]
    except OSError:
        return []


def still(seen: Snapshot) -> list[object]:
    """What changes when anything moves."""
    segments = [each.info and (each.info.segs_out, each.info.segs_in) for each in seen.connections]
    return [segments, [(each.name, each.state, each.timer is None) for each in seen.connections]]


def compare(before: Snapshot, lines: dict[str, str], after: Snapshot) -> None:
    assert len(lines) == len(before.sockets) >= 7
    for each, later in zip(before.sockets, after.sockets, strict=True):
        if isinstance(each, PassiveSocket):
            same_listener(each, lines)
        else:
            assert isinstance(each, ActiveSocket)
            assert isinstance(later, ActiveSocket)
            same_connection(each, later, lines[f"{each.name.local} {each.name.remote}"])


def same_listener(each: PassiveSocket, lines: dict[str, str]) -> None:
    line = next(line for name, line in lines.items() if name.startswith(f"{each.address} "))
    fields = line.split()
    assert (fields[0], int(fields[1]), int(fields[2])) == ("LISTEN", each.queue.waiting, each.queue.limit)
    same_owners(each, line)


def same_owners(each: PassiveSocket | ActiveSocket, line: str) -> None:
    told = re.findall(r'\("([^"]*)",pid=(\d+),fd=(\d+)\)', line)
    assert sorted((owner.program, str(owner.pid), str(owner.descriptor)) for owner in each.owners) == sorted(told)
    inode = re.search(r"\bino:(\d+)", line)
    assert int(inode[1] if inode else 0) == each.inode
    cookie = re.search(r"\bsk:([0-9a-f]+)", line)
    assert cookie is not None
    assert int(cookie[1], 16) == each.cookie
    cgroup = re.search(r"\bcgroup:(\S+)", line)
    assert each.cgroup in (None, cgroup[1] if cgroup else None)


STATES = {"ESTAB": "established", "TIME-WAIT": "time-wait", "LISTEN": "listen"}


def same_connection(each: ActiveSocket, later: ActiveSocket, line: str) -> None:
    fields = line.split()
    assert STATES[fields[0]] == each.state
    assert (int(fields[1]), int(fields[2])) == (each.receive_queue, each.send_queue)
    same_owners(each, line)
    if each.info is None:
        assert "timer:(timewait," in line
        assert each.timer is not None
        return
    assert later.info is not None
    words = dict(re.findall(r"(?<![\w:(,])(\w+):([^\s(]+)", line))
    for name, get in NUMBERS.items():
        ours = get(each.info)
        if name in words:
            assert float(words[name]) == pytest.approx(ours), (name, line)
        elif name != "ssthresh":  # which ss leaves out while it is unlimited; it leaves out zeros and the unknown, too
            assert not ours or name == "minrtt", (name, ours, line)
    for name, get_age in AGES.items():
        # Those at 0 ms are left out. The kernel counts in ticks of its clock (4 ms at 250 Hz).
        assert get_age(each.info) <= int(words.get(name, 0)) <= get_age(later.info), (name, line)
    rtt, rttvar = map(float, words["rtt"].split("/"))
    assert (rtt, rttvar) == (each.info.rtt / 1000, each.info.rttvar / 1000)
    sent, received = map(int, words["wscale"].split(","))
    assert (sent, received) == (each.info.snd_wscale, each.info.rcv_wscale)
    assert ("app_limited" in fields) == bool(each.info.delivery_rate_app_limited)
    assert (" ts " in line, " sack " in line) == ("timestamps" in each.info.agreed, "sack" in each.info.agreed)
    for name, ours in (("pacing_rate", each.info.pacing_rate), ("delivery_rate", each.info.delivery_rate)):
        told = re.search(rf"\b{name} (\d+)bps", line)
        assert (int(told[1]) if told else 0) == (ours or 0) * 8, name
    retrans = re.search(r"\bretrans:(\d+)/(\d+)", line)
    assert (int(retrans[2]) if retrans else 0) == each.info.total_retrans
    assert each.congestion in fields
    assert each.memory == memory_of(line)


def memory_of(line: str) -> Memory:
    found = re.search(r"skmem:\(([^)]*)\)", line)
    assert found is not None
    numbers = {}
    for part in found[1].split(","):
        match = re.fullmatch(r"([a-z]+)(\d+)", part)
        assert match is not None
        numbers[MEMORY[match[1]]] = int(match[2])
    return Memory(**numbers)
