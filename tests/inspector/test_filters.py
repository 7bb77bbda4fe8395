"""The language of filters: what it means, and what its errors say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.address import Address
from fourtuple.errors import FilterError, OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import parse_filter, states
from fourtuple.inspector.fields import FIELDS, need_owners
from fourtuple.inspector.filters import MOST_CHARACTERS, MOST_NESTED
from fourtuple.inspector.model import ActiveSocket, KernelTimer, Owner, PassiveSocket, Socket
from fourtuple.inspector.ordering import grouped, ordered
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo


def info(**fields: int) -> TcpInfo:
    import dataclasses

    return dataclasses.replace(TcpInfo.decode(bytes(248)), **fields)


LISTENER = PassiveSocket(
    family="ipv4", state=states.LISTEN, inode=5, address=Address("0.0.0.0", 80), queue=AcceptQueue(4, 3),
    owners=(Owner(7, "nginx", 3), Owner(8, "nginx", 3)), user="www-data",
)  # fmt: skip
BUSY = ActiveSocket(
    family="ipv4", state=states.ESTABLISHED, inode=6, name=FourTuple("10.1.2.3", 80, "10.9.9.9", 40000),
    receive_queue=3000, send_queue=70_000, info=info(rtt=60_000, total_retrans=2, snd_cwnd=10, busy_time=5),
    owners=(Owner(7, "nginx", 9),), user="www-data", congestion="cubic",
)  # fmt: skip
ENDED = ActiveSocket(
    family="ipv6",
    state=states.TIME_WAIT,
    name=FourTuple("::1", 5000, "::1", 443),
    timer=KernelTimer("time-wait", 30.0, 0),
)
ALL: list[Socket] = [LISTENER, BUSY, ENDED]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [LISTENER, BUSY, ENDED]),
        ("state=time-wait", [ENDED]),
        ("state = TIME_WAIT", [ENDED]),
        ("state in listen, established", [LISTENER, BUSY]),
        ("state != listen", [BUSY, ENDED]),
        ("not state=listen", [BUSY, ENDED]),
        ("peer in 10.0.0.0/8", [BUSY]),
        ("peer in 10.0.0.0/8, ::1", [BUSY, ENDED]),
        ("local = ::1", [ENDED]),
        ("rtt > 50ms", [BUSY]),
        ("rtt > 0.05s and rtt <= 60000us", [BUSY]),
        ("rtt < 1m", [BUSY]),
        ("not rtt > 50ms", [LISTENER, ENDED]),
        ("port = 80", [LISTENER, BUSY]),
        ("port in 79-81", [LISTENER, BUSY]),
        ("peer-port=443 or local-port=80", [LISTENER, BUSY, ENDED]),
        ("sport = 80", [LISTENER, BUSY]),
        ("peer-port > 40000", []),
        ("peer-port >= 40000", [BUSY]),
        ("program=nginx", [LISTENER, BUSY]),
        ("program ~ GIN", [LISTENER, BUSY]),
        ("pid = 8", [LISTENER]),
        ("user = 'www-data'", [LISTENER, BUSY]),
        ("recvq > 2k", [BUSY]),
        ("sendq > 70000", []),
        ("sendq >= 70000", [BUSY]),
        ("full", [LISTENER]),
        ("queue > 3 and full", [LISTENER]),
        ("listening or state=time-wait", [LISTENER, ENDED]),
        ("state=time-wait or listening and program=nginx", [LISTENER, ENDED]),
        ("(state=time-wait or listening) and program=nginx", [LISTENER]),
        ("slow", [LISTENER]),
        ("timer=time-wait and timer-left < 40s", [ENDED]),
        ("retrans = 2 and cwnd=10 and congestion=CUBIC", [BUSY]),
        ("family=ipv6", [ENDED]),
        ("container = x", []),
        ("container != x", []),  # nobody knows: neither holds
    ],
)
def test_what_is_chosen(text: str, found: list[Socket]) -> None:
    assert [each for each in ALL if parse_filter(text)(each)] == found


@pytest.mark.parametrize(
    ("send_queue", "acknowledged", "sent", "slow"),
    [
        (9, 1500, 1500, True),
        (9, 100, 5000, True),  # its window is closed: the peer acknowledges the probes, and no data leaves
        (9, 100, 100, False),
        (0, 5000, 5000, False),
    ],
)
def test_a_send_queue_that_does_not_move_is_slow(send_queue: int, acknowledged: int, sent: int, slow: bool) -> None:
    found = info(last_ack_recv=acknowledged, last_data_sent=sent)
    assert parse_filter("slow")(replace(BUSY, receive_queue=0, send_queue=send_queue, info=found)) is slow


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("stat=listen", 1, "no field 'stat', did you mean 'state'?"),
        ("state=timewai", 7, "state: no state 'timewai', did you mean 'time-wait'?: one of listen, syn-sent"),
        ("rtt", 4, "rtt is not a flag: it is compared, as in rtt > 50ms"),
        ("rtt > 50", 7, "rtt: '50' is not a duration: a number with us, ms, s, m, h or d, as in 50ms"),
        ("recvq > 5x", 9, "recvq: '5x' is not a number of octets: k, m and g stand for KiB, MiB and GiB, as in 64k"),
        ("cwnd > 5ms", 8, "cwnd: '5ms': a number without a unit is expected"),
        ("peer = somewhere", 8, "peer: 'somewhere' is neither an address nor a network: as in 192.0.2.7, "),
        ("peer > 10.0.0.1", 8, "peer: > compares numbers; here it is =, !=, ~ or in"),
        ("port = 65536", 8, "port: '65536': ports are 0 to 65535, the lower one first"),
        ("port = http", 8, "port: 'http' is neither a port nor a range of ports: as in 9999 or 8000-8099"),
        ("state established", 7, "'established' is not a comparison: one of = != ~ in < <= > >="),
        ("listening = 1", 11, "listening is a flag: it stands alone, or behind 'not'"),
        ("(listening", 11, "')' is expected"),
        ("listening)", 10, "'and' or 'or' is expected before ')'"),
        ("listening slow", 11, "'slow' is not a comparison: one of = != ~ in < <= > >="),
        ("listening and", 14, "the name of a field is expected"),
        ("rtt >", 6, "a value is expected"),
        ("program = 'nginx", 11, "a quote that is not closed"),
        ("a ! b", 3, "'!' means nothing here"),
        ("not", 4, "the name of a field is expected"),
    ],
)
def test_what_cannot_be_read(text: str, at: int, why: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert str(caught.value).startswith(f"cannot read filter {text!r} at character {at}: {why}")
    assert (caught.value.text, caught.value.at) == (text, at - 1)


def test_it_is_bounded() -> None:
    with pytest.raises(FilterError, match=f"no more than {MOST_CHARACTERS} are allowed"):
        parse_filter("x" * (MOST_CHARACTERS + 1))
    for nested in ("(", "not "):
        assert parse_filter(nested * MOST_NESTED + "slow" + ")" * (MOST_NESTED if nested == "(" else 0))
        with pytest.raises(FilterError, match=f"nested more than {MOST_NESTED} deep"):
            parse_filter(nested * (MOST_NESTED + 1) + "slow")


@given(st.text(alphabet=" ()<>=!~,'\"andortisl0159.:/-mskw", max_size=200))
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    assert chosen_or_error(text)


def chosen_or_error(text: str) -> bool:
    """Whether a text is a filter that takes every socket, or is refused at a place in it."""
    try:
        wanted = parse_filter(text)
    except FilterError as error:
        return 0 <= error.at <= len(text)
    return all(wanted(each) in (True, False) for each in ALL)


@pytest.mark.parametrize(
    "text", ["(" * 4000, "'" * 4095, "slow and " * 450 + "slow", " " * 4000 + "x", "a" * 4096, "1" * 4000 + "="]
)
def test_the_longest_filters_are_read(text: str) -> None:
    """One token is read at a time, and none twice; a pattern that tries again and again would run into the timeout."""
    assert chosen_or_error(text)


def test_owners_are_looked_up_only_if_asked_for() -> None:
    assert need_owners(parse_filter("program=x or rtt > 1s").fields)
    assert not need_owners(parse_filter("state=listen or rtt > 1s").fields)


def test_every_field_takes_every_socket() -> None:
    for field in FIELDS.values():
        for each in ALL:
            field.get(each)
        assert field.meaning


def test_what_was_never_measured_is_unknown() -> None:
    """In SYN-SENT the kernel counts the age of data from its own start, and its variation of round trips is a guess."""
    names = ("rtt", "rttvar", "idle", "last-sent", "last-received")
    numbers = {"last_data_sent": 59_378_676, "last_data_recv": 59_378_676, "rttvar": 250_000}
    sent = replace(BUSY, state=states.SYN_SENT, info=info(**numbers))
    assert [FIELDS[name].get(sent) for name in names] == [None] * 5
    known = [FIELDS[name].get(replace(BUSY, info=info(rtt=20, **numbers))) for name in names]
    assert known == pytest.approx([20e-6, 0.25, 59378.676, 59378.676, 59378.676])


def test_sockets_are_ordered_by_fields_unknown_values_last() -> None:
    assert ordered([ENDED, BUSY, LISTENER]) == [LISTENER, BUSY, ENDED]
    assert ordered(ALL, ["-rtt"]) == [BUSY, LISTENER, ENDED]  # what the kernel does not say comes last
    assert ordered(ALL, ["peer"]) == [BUSY, ENDED, LISTENER]
    assert ordered(ALL, ["-peer"]) == [ENDED, BUSY, LISTENER]
    with pytest.raises(OptionError, match="sort: no field 'rt', did you mean 'rtt'"):
        ordered(ALL, ["rt"])


def test_groups_count_sockets_and_sum_their_queues() -> None:
    nginx, nobody = grouped(ALL, "program")
    assert (nginx.value, nginx.count, nginx.peers, nginx.receive_queue) == ("nginx", 2, 1, 3000)
    assert nginx.states == (("established", 1), ("listen", 1))
    assert (nobody.value, nobody.count) == (None, 1)
