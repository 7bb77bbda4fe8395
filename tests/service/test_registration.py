"""What is registered can be called as it will be: a wrong signature is refused before a socket is opened."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from fourtuple import Reason, Service, events
from fourtuple.errors import ServiceError
from handlers.kinds import service_by
from rig import Peer, serving, until


def none() -> None: ...
def one(a: Any) -> None: ...
def two(a: Any, b: Any) -> None: ...
def three(a: Any, b: Any, c: Any) -> None: ...
def by_name(a: Any, *, b: Any) -> None: ...
def two_by_name(*, a: Any, b: Any) -> None: ...
def optional(a: Any = None, b: Any = None) -> None: ...
def optional_by_name(a: Any, *, b: Any = None) -> None: ...
def second_optional(a: Any, b: Any = None) -> None: ...
def variadic(*arguments: Any) -> None: ...


async def none_async() -> None: ...
async def one_async(a: Any) -> None: ...
async def two_async(a: Any, b: Any) -> None: ...
async def by_name_async(a: Any, *, b: Any) -> None: ...


async def set_up() -> AsyncIterator[None]:
    yield


async def set_up_with_one(a: Any) -> AsyncIterator[None]:
    yield


def generator(a: Any) -> Iterator[Any]:
    yield a


def generator_of_three(a: Any, b: Any, c: Any) -> Iterator[Any]:
    yield a


class Handler:
    def one(self, a: Any) -> None: ...
    def make(self) -> None: ...
    async def set_up(self) -> AsyncIterator[None]:
        yield

    def three(self, a: Any, b: Any, c: Any) -> None: ...
    def __call__(self, a: Any, b: Any) -> None: ...


Register = Callable[[Service, Any], object]
REGISTER: dict[str, Register] = {
    "reply": lambda service, function: service.reply(function),
    "reply in threads": lambda service, function: service.reply(threads=True)(function),
    "replies": lambda service, function: service.replies(function),
    "conversation": lambda service, function: service.conversation(function),
    "conversation that speaks first": lambda service, function: service.conversation(speaks_first=True)(function),
    "opened": lambda service, function: service.opened(function),
    "closed": lambda service, function: service.closed(function),
    "failed": lambda service, function: service.failed(function),
    "unmapped": lambda service, function: service.unmapped(function),
    "lifespan": lambda service, function: service.lifespan(function),
    "Service(lifespan=)": lambda _, function: Service("line", lifespan=function),
    "Service(state=)": lambda _, function: Service("line", state=function),
}
REPLY = "expected a function of (message) or (message, connection)"
CONVERSATION = "expected a function of (connection)"
PLAIN = "none_async is an async def; expected a plain def, because it runs inline"
ONE_YIELD = "expected an async def with one yield"
WRONG = [
    ("reply", none, f"none takes 0 arguments; {REPLY}"),
    ("reply", three, f"three takes 3 arguments; {REPLY}"),
    ("reply", by_name, f"by_name needs b by name; {REPLY}"),
    ("reply", two_by_name, f"two_by_name needs a, b by name; {REPLY}"),
    ("reply", none_async, f"none_async takes 0 arguments; {REPLY}"),
    ("reply", by_name_async, f"by_name_async needs b by name; {REPLY}"),
    ("reply", generator_of_three, f"generator_of_three takes 3 arguments; {REPLY}"),
    ("reply", Handler().three, f"Handler.three takes 3 arguments; {REPLY}"),
    ("reply", functools.partial(one, 1), f"takes 0 arguments; {REPLY}"),
    ("reply", 3, "reply: expected a function, got 3"),
    ("reply", None, "reply: expected a function, got None"),
    ("replies", None, "replies: expected a function, got None"),
    ("reply in threads", three, f"three takes 3 arguments; {REPLY}"),
    ("conversation", none, f"none takes 0 arguments; {CONVERSATION}"),
    ("conversation", two, f"two takes 2 arguments; {CONVERSATION}"),
    ("conversation", two_async, f"two_async takes 2 arguments; {CONVERSATION}"),
    ("conversation", by_name_async, f"by_name_async needs b by name; {CONVERSATION}"),
    ("conversation", 3, "conversation: expected a function, got 3"),
    ("conversation", None, "conversation: expected a function, got None"),
    ("conversation that speaks first", two, f"two takes 2 arguments; {CONVERSATION}"),
    ("opened", none, "none takes 0 arguments; expected a function of (connection)"),
    ("opened", two, "two takes 2 arguments; expected a function of (connection)"),
    ("opened", 3, "opened: expected a function, got 3"),
    ("opened", None, "opened: expected a function, got None"),
    ("closed", none, "none takes 0 arguments; expected a function of (connection)"),
    ("closed", by_name, "by_name needs b by name; expected a function of (connection)"),
    ("failed", one, "one takes 1 argument; expected a function of (error, connection)"),
    ("failed", three, "three takes 3 arguments; expected a function of (error, connection)"),
    ("unmapped", one, "one takes 1 argument; expected a function of (message, connection)"),
    ("unmapped", Handler().one, "Handler.one takes 1 argument; expected a function of (message, connection)"),
    ("lifespan", set_up_with_one, "set_up_with_one takes 1 argument; expected a function without arguments"),
    ("lifespan", 3, "lifespan: expected a function, got 3"),
    ("Service(lifespan=)", set_up_with_one, "set_up_with_one takes 1 argument; expected a function without arguments"),
    ("Service(lifespan=)", 3, "lifespan: expected a function or None, got 3"),
    ("Service(lifespan=)", none_async, f"none_async is an async def without a yield; {ONE_YIELD}"),
    ("Service(lifespan=)", generator, f"generator is a generator; {ONE_YIELD}"),
    ("lifespan", none, f"none is a def without a yield; {ONE_YIELD}"),
    ("lifespan", lambda: set_up(), f"<lambda> is a def without a yield; {ONE_YIELD}"),
    *[
        (
            how,
            contextmanager(generator),
            f"@contextmanager; {ONE_YIELD}, under no decorator or under @asynccontextmanager",
        )
        for how in ("lifespan", "Service(lifespan=)")
    ],
    ("Service(state=)", none_async, PLAIN),
    ("Service(state=)", one, "one takes 1 argument; expected a function without arguments"),
    ("Service(state=)", {}, "state: expected a function or None, got {} (dict)"),
]


@pytest.mark.parametrize(("how", "function", "text"), WRONG)
def test_a_signature_that_cannot_be_called_is_refused_by_its_name(how: str, function: Any, text: str) -> None:
    service = Service("line")
    with pytest.raises(ServiceError) as raised:
        REGISTER[how](service, function)
    hook = how.removeprefix("Service(").split()[0].removesuffix("=)")
    assert str(raised.value).startswith(f"{hook}: ")
    assert str(raised.value).endswith(text)
    assert service.handler is service.on_opened is service.on_closed is service.on_failed is service.on_unmapped is None


@pytest.mark.parametrize(
    ("how", "function"),
    [
        *[("reply", each) for each in (one, two, optional, optional_by_name, second_optional, variadic, generator)],
        *[("reply", each) for each in (Handler(), Handler().one, functools.partial(two, 1), len, bytes.upper)],
        *[("conversation", each) for each in (one, optional, second_optional, variadic, one_async)],
        *[("opened", each) for each in (one, optional, variadic, optional_by_name, Handler().one)],
        *[("closed", each) for each in (one, optional, variadic, second_optional)],
        *[("failed", each) for each in (two, optional, variadic, Handler())],
        *[("unmapped", each) for each in (two, optional, variadic)],
        ("lifespan", set_up),
        ("lifespan", asynccontextmanager(set_up)),
        ("lifespan", functools.partial(set_up_with_one, 1)),
        ("Service(lifespan=)", asynccontextmanager(set_up)),
        *[("Service(state=)", each) for each in (none, optional, variadic, dict, list, object)],
    ],
)
def test_a_signature_that_can_be_called_is_accepted(how: str, function: Any) -> None:
    REGISTER[how](Service("line"), function)


@pytest.mark.parametrize("how", REGISTER)
def test_a_method_without_its_object_is_refused(how: str) -> None:
    function = Handler.set_up if "lifespan" in how else Handler.make if "state" in how else Handler.one
    with pytest.raises(ServiceError, match=rf"Handler\.{function.__name__} is a method without its object, .* as in"):
        REGISTER[how](Service("line"), function)


def test_a_method_is_refused_in_its_class() -> None:
    service = Service("line")
    with pytest.raises(ServiceError, match=r"reply: .*Echo\.answer is a method without its object, .* as in Echo"):

        class Echo:
            @service.reply
            def answer(self, message: bytes) -> bytes: ...  # type: ignore[empty-body]

    service.reply(Handler().one)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [(one, False), (two, True), (optional, False), (second_optional, False), (variadic, False), (Handler(), True)],
)
def test_a_reply_handler_gets_the_connection_where_it_needs_two_arguments(function: Any, wanted: bool) -> None:
    service = Service("line")
    service.reply(function)
    assert service.handler.wants_connection is wanted  # type: ignore[union-attr]


# -- the states of a service ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["inline", "async", "conversation", "blocking"])
def test_each_connection_has_a_state_of_its_own_before_anything_is_called(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        service = Service("line", state=list)
        service.opened(lambda connection: connection.state.append(b"opened"))

        def states(message: bytes, connection: Any) -> bytes:
            connection.state.append(message)
            return b",".join(connection.state)

        service_by(kind, states, service)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                assert await peer.talk(b"a\nb\n") == b"opened,a\nopened,a,b\n"
                assert await other.talk(b"c\n") == b"opened,c\n"

    run_async(main())


def test_a_state_that_cannot_be_made_costs_its_connection_and_no_other(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        made: list[int] = []

        def state() -> int:
            made.append(len(made))
            if len(made) == 1:
                raise ValueError("no state today")
            return made[-1]

        service = Service("line", state=state)
        opened: list[Any] = []
        service.opened(lambda connection: opened.append(connection.state))
        service.failed(lambda error, connection: b"sorry")
        service.reply(lambda message, connection: b"%d" % connection.state)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"sorry\n"
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"1\n"
            await until(lambda: len(seen.of(events.Closed)) == 2)
            (raised,) = seen.of(events.HandlerRaised)
            assert "state" in raised.handler
            assert str(raised.error) == "no state today"
            assert seen.of(events.Closed)[0].reason is Reason.HANDLER_ERROR
        assert opened == [1]

    run_async(main())


@pytest.mark.parametrize("how", ["plain", "@asynccontextmanager", "a lambda", "@service.lifespan", "both decorators"])
def test_a_lifespan_can_be_given_to_the_service(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        order: list[str] = []

        async def database() -> AsyncIterator[bytes]:
            order.append("set up")
            yield b"the state"
            order.append("torn down")

        service = Service("line")
        if how in ("@service.lifespan", "both decorators"):
            service.lifespan(database if how == "@service.lifespan" else asynccontextmanager(database))
        elif how == "a lambda":
            service = Service("line", lifespan=lambda: database())
        else:
            service = Service("line", lifespan=database if how == "plain" else asynccontextmanager(database))
        service.reply(lambda message, connection: connection.service_state)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"the state\n"
            assert order == ["set up"]
            await server.drain()
        assert order == ["set up", "torn down"]

    run_async(main())
