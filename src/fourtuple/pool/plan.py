"""What a client was told when it was made: checked once, for the async and the blocking client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fourtuple.address import Address
from fourtuple.client.options import Connect
from fourtuple.errors import Fate, OptionError, PermanentFailure
from fourtuple.errors.base import interrupts
from fourtuple.events import Observer
from fourtuple.framing import Framing, parse_framing
from fourtuple.framing.checks import as_it_is_now
from fourtuple.options import (
    Pool,
    Pushes,
    Retries,
    Sockets,
    check_flag,
    check_function,
    check_timeout,
    check_type,
    refuse_unrun,
)
from fourtuple.pool.calls import Call, no_one, told, with_fate
from fourtuple.pool.correlation import Correlation, KeyOf
from fourtuple.pool.functions import failure_of
from fourtuple.pool.pool import ConnectionPool
from fourtuple.pool.pushes import PushInbox
from fourtuple.pool.report import Report
from fourtuple.printable import error_text, repr_of

#: The socket options of a client: a dead server is found within 45 s, whether or not octets are in flight. The user
#: timeout is what keepalive takes (30 + 3 x 5 s), because it replaces the count of probes (tcp(7), TCP_USER_TIMEOUT).
CLIENT_SOCKETS = Sockets(keepalive_idle=30, keepalive_interval=5, keepalive_count=3, user_timeout=45.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a client."""

    address: Address
    framing: Framing
    chosen: Connect
    options: Pool
    retries: Retries
    pushes: Pushes | None
    correlation: Correlation
    ping: Callable[[], Any] | None
    idempotent: Callable[[Any], bool] | bool
    observer: Observer | None
    awaits: bool
    greets: bool

    @classmethod
    def of(
        cls,
        address: Address | str,
        framing: Framing | str,
        chosen: Connect,
        *,
        pool: Pool | None,
        retries: Retries | None,
        pushes: Pushes | None,
        key: KeyOf | tuple[KeyOf, KeyOf] | None,
        is_push: Callable[[Any], bool] | None,
        on_push: Callable[[Any], object] | None,
        greet: Callable[[Any], object] | None,
        ping: Any,
        idempotent: Callable[[Any], bool] | bool,
        observer: Observer | None,
        awaits: bool,
    ) -> Plan:
        """Check the arguments. Raises AddressError, FramingTextError and OptionError, before a socket is opened.

        ``awaits``: what ``greet`` and ``on_push`` return is awaited, so they may be async.
        """
        for name, value, kind in (("pool", pool, Pool), ("retries", retries, Retries), ("pushes", pushes, Pushes)):
            check_type(name, value, kind)
        check_function("greet", greet, "connection", awaits=awaits)
        check_function("on_push", on_push, "push", awaits=awaits)
        check_function("observer", observer, "event")
        if callable(ping):
            check_function("ping", ping)
        if callable(idempotent):
            check_function("idempotent", idempotent, "message")
        else:
            check_flag("idempotent", idempotent)
        if chosen.reconnect is not None:
            raise OptionError("reconnect: a client connects again by itself; say how with retries=Retries(...)")
        takes_pushes = pushes is not None or on_push is not None
        options = pool or Pool()
        if takes_pushes and options.max_connections != 1:
            raise OptionError(
                f"max_connections: expected 1 with pushes, got {options.max_connections}: each one gets them"
            )
        parsed = Address.parse(address)
        chosen.check_for(parsed)
        if chosen.sockets is None:
            chosen = chosen.replace(sockets=CLIENT_SOCKETS)
        cut = parse_framing(framing)
        correlation = Correlation.of(key, is_push, takes_pushes)
        if ping is not None and not callable(ping):
            _check_ping(ping, cut, correlation)
        return cls(
            parsed,
            cut,
            chosen,
            options,
            retries or Retries(),
            (pushes or Pushes()) if takes_pushes else None,
            correlation,
            ping if ping is None or callable(ping) else lambda: ping,
            idempotent,
            observer,
            awaits,
            greet is not None,
        )

    def make_pool(
        self, random: Callable[[], float], wall: Callable[[], float], passes: Callable[[BaseException], bool]
    ) -> ConnectionPool:
        """Make the pool; ``random`` returns numbers in [0, 1), ``wall`` the seconds since 1970.

        ``passes`` tells what the functions of the program raise that is no failure of theirs (``functions.py``).
        """
        return ConnectionPool(
            Report(str(self.address), self.observer, passes),
            self.options,
            self.retries,
            replace(self.correlation, passes=passes),
            random=random,
            wall=wall,
            inbox=None if self.pushes is None else PushInbox(self.pushes, str(self.address)),
            ping=self.ping,
            framing=None if self.greets else self.framing,
        )

    def call(
        self,
        message: Any,
        timeout: float | None,
        idempotent: bool | None,
        *,
        wake: Callable[[], object] = no_one,
        gone: Callable[[], bool] | None = None,
    ) -> Call:
        """Make the call for a request. Raises OptionError, and what ``idempotent`` raises, each with its fate."""
        try:
            check_timeout(timeout)
            message = as_it_is_now(message)  # it may wait for a connection, and be sent again on another one
            if idempotent is None:
                idempotent = _answer(self.idempotent, message) if callable(self.idempotent) else self.idempotent
            else:
                check_flag("idempotent", idempotent)
        except StopIteration as error:
            raise told(error, Fate.NOT_SENT) from error
        except Exception as error:
            with_fate(error, Fate.NOT_SENT)
            raise
        except BaseException as error:
            if interrupts(error) or not self.awaits:
                raise
            raise told(failure_of(error, f"client of {self.address}: idempotent="), Fate.NOT_SENT) from error
        seconds = self.options.whole_timeout if timeout is None else timeout
        return Call(message, timeout=seconds, idempotent=idempotent, wake=wake, gone=gone)


def _answer(function: Callable[[Any], Any], message: Any) -> bool:
    """Ask ``idempotent`` about a message. Raises HandlerMistake for a coroutine, which would be true for all."""
    answer = function(message)
    refuse_unrun("idempotent", function, answer)
    return bool(answer)


def called_in_greet(address: object, method: str) -> PermanentFailure:
    """Return the error for a client that ``greet`` waits for: it would wait for itself, at each attempt again."""
    return PermanentFailure(
        f"client of {address}: {method} was called in greet=, which must use the connection that it is given: this "
        "client has it only when greet= has returned"
    )


def _check_ping(ping: Any, framing: Framing, correlation: Correlation) -> None:
    """Raise OptionError for a message that cannot be sent: otherwise each connection would end when it first idles."""
    advice = "if greet= changes the framing, give a function that returns the message"
    try:
        framing.encode(ping)
    except Exception as error:
        text = f"ping: expected a message that {framing} can encode, got {repr_of(ping)}: {error_text(error)}"
        raise OptionError(f"{text}; {advice}") from error
    try:
        correlation.outstanding("ping").key_for(ping)
    except OptionError:
        raise
    except Exception as error:
        text = f"ping: expected a message that key= can read, got {repr_of(ping)}: {error_text(error)}"
        raise OptionError(text) from error
