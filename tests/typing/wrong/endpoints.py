"""Addresses with options of their own, alarms, observers, calls: each line that is marked is to be reported."""

import socket

from fourtuple import Alarm, Deadlines, Endpoint, Limits, Proxy, Server, Service, Sockets, Tls, run
from fourtuple.events import Accepted, AlarmRaised, Event, HandlerRaised
from fourtuple.framing import Fixed

service = Service(Fixed(16))

Endpoint(9999)  # wrong
Endpoint("*:9999", limit=Limits())  # wrong
Endpoint("*:9999", limits=Deadlines())  # wrong
Endpoint("*:9999", tls="server.pem")  # wrong
Endpoint("*:9999", proxy=True)  # wrong
Endpoint("*:9999", sockets=Limits())  # wrong
Endpoint("*:9999", observer=print)  # wrong
Endpoint("*:9999").limits.replace(max_connections=5)  # wrong
Endpoint("*:9999").address = "*:9998"  # wrong
Server(service, ("127.0.0.1", 9999))  # wrong
Server(service, 9999)  # wrong
Server(service, "*:9999", limits={"max_connections": 5})  # wrong
Server(service, "*:9999", deadlines=Limits())  # wrong
Server(service, "*:9999", sockets=Sockets(no_delay=True))  # wrong
Server(service, "*:9999", tls=True)  # wrong
Server(service, "*:9999", tls=Tls(modes="optional"))  # wrong
Server(service, "*:9999", proxy=Proxy(trust=("127.0.0.1",)))  # wrong
Server(service, "*:9999", alarms=[5])  # wrong
Server(Fixed(16), "*:9999")  # wrong
run(service, "*:9999", Endpoint("*:9998"), max_connections=5)  # wrong
Alarm("connections")  # wrong
Alarm(5, callback=run)  # wrong
Alarm(5, gauge="conections")  # wrong


def watches_one_kind(event: HandlerRaised) -> None: ...


def watches_two(event: Event, more: int) -> None: ...


async def watches_later(event: Event) -> None: ...


def paged(raised: Accepted) -> None: ...


Server(service, observer=watches_one_kind)  # wrong
Server(service, observer=watches_two)  # wrong
Server(service, observer=watches_later)  # wrong
Alarm(5, callback=paged)  # wrong


def reads_events(event: Event, raised: AlarmRaised, accepted: Accepted) -> None:
    print(event.id)  # wrong
    print(raised.threshhold)  # wrong
    accepted.name = None  # wrong
    accepted.id.encode()  # wrong


def given(sock: socket.socket) -> None:
    Server(service, [sock])  # wrong
    Endpoint([sock, 9999])  # wrong
