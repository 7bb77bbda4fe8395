"""`fourtuple ports`: the ephemeral range and how near its end is, who has a port, which are free."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack
from typing import Any

import pytest

from cli.conftest import FOURTUPLE, Run
from cli.screens import same_text, screen
from fourtuple.cli.ports import port_screen, ports_table, use_screen
from fourtuple.cli.tables import Table
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import Snapshot, portuse, states
from fourtuple.inspector.assignments import assigned, generated, ports_of
from fourtuple.inspector.model import ActiveSocket, Counters
from fourtuple.inspector.portuse import Settings, use_of, uses
from inspector.sample import SAMPLE
from inspector.scenes import alone, listener_alone, port_of

SETTINGS = Settings(first=50_000, last=50_009, reserved=((50_005, 50_006), (80, 80)), unprivileged=1024)


def ended(local: int, remote: str, port: int) -> ActiveSocket:
    return ActiveSocket(family="ipv4", state=states.TIME_WAIT, name=FourTuple("192.0.2.7", local, remote, port))


#: Seven of eight ports towards one peer, one towards another, and connections at ports that are not ephemeral.
BUSY = Snapshot(
    (
        *(ended(local, "203.0.113.5", 5432) for local in (50_000, 50_001, 50_002, 50_003, 50_004, 50_007, 50_008)),
        ended(50_000, "203.0.113.6", 443),
        ended(50_005, "203.0.113.5", 5432),
        ended(443, "203.0.113.5", 50_001),
    ),
    Counters(),
    "netlink",
)


def test_the_kernels_settings_tell_which_ports_are_ephemeral() -> None:
    read = portuse.read_settings("32768\t60999", "8080,9000-9010", "80")
    assert (read.first, read.last, read.unprivileged) == (32768, 60999, 80)
    assert read.available == 28_232
    assert SETTINGS.available == 8
    assert [SETTINGS.is_ephemeral(port) for port in (49_999, 50_000, 50_005, 50_009)] == [False, True, False, True]
    with pytest.raises(ValueError, match="'9-8': ports are 0 to 65535, the lower one first"):
        portuse.ranges("9-8")


def test_what_runs_out_is_the_range_towards_one_peer() -> None:
    most, other = uses(BUSY, SETTINGS)
    assert (most.remote_ip, most.remote_port, most.used, most.time_wait) == ("203.0.113.5", 5432, 7, 7)
    assert (most.share, most.near) == (7 / 8, True)
    assert (other.used, other.near) == (1, False)
    (sentence,) = portuse.exhaustion([most, other])
    assert sentence.startswith("Towards 203.0.113.5 port 5432, 7 of 8 ports are in use (88%, 7 in TIME-WAIT)")


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_fits_its_width(width: int) -> None:
    parts = [
        screen(part, width) if isinstance(part, Table) else part + "\n"
        for part in use_screen(uses(BUSY, SETTINGS), SETTINGS, None)
    ]
    parts.append(screen(ports_table([use_of(port, assigned(port), SAMPLE) for port in (21, 22, 443, 9999)]), width))
    for port in (21, 443, 9999, 50_000):
        parts += [line + "\n" for line in port_screen(use_of(port, assigned(port), SAMPLE), SETTINGS, 10)]
    same_text(f"ports-{width}", "".join(parts))


def exhausted() -> dict[str, Any]:
    """In a namespace of its own, whose ephemeral range has four ports."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as range_:
        range_.write("50000 50003")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 9999)))
        for _ in range(4):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        late = stack.enter_context(socket.socket())
        code = late.connect_ex(listener.getsockname())
        done = subprocess.run([*FOURTUPLE, "ports"], capture_output=True, text=True, check=False)
        told = subprocess.run([*FOURTUPLE, "ports", "--json"], capture_output=True, text=True, check=False)
        return {"errno": code, "out": done.stdout, "json": json.loads(told.stdout)}


def test_exhaustion_is_reported_when_connect_fails() -> None:
    found = alone(exhausted)
    assert found["errno"] == 99  # EADDRNOTAVAIL
    assert "Ephemeral ports: 50000-50003 (4 ports, none reserved)" in found["out"]
    assert "Towards 127.0.0.1 port 9999, 4 of 4 ports are in use (100%, 0 in TIME-WAIT)" in found["out"]
    (peer,) = found["json"]["peers"]
    assert (peer["used"], peer["available"], peer["share"]) == (4, 4, 1.0)


def test_a_port_that_is_held(run: Run) -> None:
    with listener_alone(backlog=7) as listener:
        port = port_of(listener)
        done = run("ports", str(port))
        told = json.loads(run("ports", "--json", str(port)).out)
    assert done.code == 0
    assert f"{port}: in use" in done.text
    assert f"listener at 127.0.0.1:{port}, " in done.text
    assert "0 waiting of a backlog of 7" in done.text
    assert (told[0]["free"], told[0]["listeners"][0]["queue"]) == (False, {"waiting": 0, "limit": 7})


def test_a_port_that_is_only_bound_is_not_called_free(run: Run) -> None:
    """No table of the kernel has it: only bind(2) tells."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = port_of(sock)
        done = run("ports", str(port))
        told = json.loads(run("ports", "--json", str(port)).out)
    assert done.text.startswith(f"{port}: bound; ")
    assert "A socket is bound to it that neither listens nor is connected" in " ".join(done.text.split())
    assert (told[0]["free"], told[0]["bound"]) == (False, True)


def test_several_ports_are_a_table(run: Run) -> None:
    with listener_alone() as listener:
        port = port_of(listener)
        done = run("ports", f"{port},1", "https")
    assert done.text.splitlines()[0].startswith("3 ports: ")
    assert any(line.split()[:1] == [str(port)] for line in done.text.splitlines())


def test_few_ports_are_all_listed_and_of_many_those_in_use() -> None:
    def listed(ports: range) -> list[list[str]]:
        return ports_table([use_of(port, assigned(port), SAMPLE) for port in ports]).rows

    assert ["21", "ftp", "free", "-", "0"] in listed(range(15, 35))
    assert [row[0] for row in listed(range(15, 36))] == ["22"]


def test_free_ports_can_be_had(run: Run) -> None:
    done = run("ports", "--free", "3")
    found = list(map(int, done.text.split()))
    assert (done.code, len(found)) == (0, 3)
    for port in found:
        assert not assigned(port)
        with socket.create_server(("", port)):
            pass


def none_free() -> dict[str, Any]:
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as range_:
        range_.write("1025 65535")
    done = subprocess.run([*FOURTUPLE, "ports", "--free", "5"], capture_output=True, text=True, check=False)
    return {"code": done.returncode, "err": done.stderr}


def test_too_few_free_ports_are_a_failure() -> None:
    found = alone(none_free)
    assert found["code"] == 1
    assert "ports are free, unassigned and not ephemeral; 5 were asked for" in found["err"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["htps"], "'htps' is neither a port nor a service name of IANA's, did you mean 'https'?"),
        (["99999"], "'99999': ports are 0 to 65535, the lower one first"),
        (["9-8"], "'9-8': ports are 0 to 65535, the lower one first"),
        (["1-5000"], "5,000 ports, no more than 1,024 are told apart"),
        (["--free", "3", "80"], "--free looks for ports itself"),
    ],
)
def test_what_is_no_port_is_refused_with_a_hint(run: Run, arguments: list[str], says: str) -> None:
    done = run("ports", *arguments)
    assert (done.code, done.text) == (2, "")
    assert says in " ".join(done.err.split())


# -- the data ---------------------------------------------------------------------------------------------


def test_what_ports_are_assigned_to() -> None:
    assert [assigned(port) for port in (22, 443, 502, 2575, 5432)] == ["ssh", "https", "mbap", "hl7", "postgresql"]
    assert assigned(1027) == ""
    assert 443 in ports_of("https")
    assert ports_of("htps") == ()


def test_the_data_is_made_from_either_form_of_the_registry() -> None:
    services = [
        "# a comment\n",
        "ssh\t22/tcp/udp\t# The Secure Shell\n",
        "only\t23/udp\n",
        "x11\t6000-6001/tcp\n",
        "\n",
    ]
    assert list(generated(services)) == ["22 ssh\n", "6000 x11\n", "6001 x11\n"]
    table = [
        "Service Name,Port Number,Transport Protocol,Description\n",
        "ssh,22,tcp,The Secure Shell\n",
        ",24,tcp,any private mail system\n",
        "only,23,udp,no\n",
        "x11,6000-6001,tcp,X\n",
    ]
    assert list(generated(table)) == ["22 ssh\n", "6000 x11\n", "6001 x11\n"]
