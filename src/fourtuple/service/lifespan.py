"""The lifespan of a service: set-up and tear-down around serving, by a function that the user writes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias, cast

from fourtuple.cancelling import on_request
from fourtuple.errors import HandlerFailed, ServiceError
from fourtuple.options import check_callable
from fourtuple.service.registration import check_lifespan, function_name
from fourtuple.typevars import L

#: Makes the context manager that yields the service's state.
Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[L]]

#: The error texts of contextlib for a lifespan that does not yield once, and what is wrong with it.
_WRONG_YIELDS = {
    "generator didn't yield": "ended without a yield",
    "generator didn't stop": "has a second yield",
    "generator didn't stop after athrow()": "has a second yield",
}


def given_lifespan(given: Callable[[], AbstractAsyncContextManager[L] | AsyncIterator[L]]) -> Lifespan[L]:
    """Return the lifespan of ``Service(lifespan=...)``. Raises ServiceError for a function that cannot be one."""
    check_callable("lifespan", given, kind=ServiceError)
    made: Any = asynccontextmanager(cast(Any, given)) if check_lifespan(given) else given
    lifespan: Lifespan[L] = made
    return lifespan


def decorated_lifespan(given: Callable[[], AsyncIterator[L]]) -> Lifespan[L]:
    """Return the lifespan of ``@service.lifespan``. Raises ServiceError unless it is an async generator function."""
    check_callable("lifespan", given, optional=False, kind=ServiceError)
    if not check_lifespan(given):
        raise ServiceError(f"lifespan: {function_name(given)} must be an async def with one yield")
    return asynccontextmanager(cast(Any, given))


@asynccontextmanager
async def run_lifespan(lifespan: Lifespan[L]) -> AsyncIterator[L]:
    """Set up, yield the service's state, tear down.

    Raises ServiceError if the function does not yield once, and HandlerFailed if it raises CancelledError although
    nothing has cancelled its task.
    """
    phase, thrown_in = "set-up", None
    try:
        async with lifespan() as state:
            try:
                yield state
            except BaseException as error:
                thrown_in = error
                raise
            finally:
                phase = "tear-down"
    except RuntimeError as error:
        wrong = _WRONG_YIELDS.get(str(error))
        if wrong is None:
            raise
        name = function_name(lifespan)
        raise ServiceError(f"lifespan: {name} {wrong}; it yields once, between set-up and tear-down") from error
    except asyncio.CancelledError as error:
        if error is thrown_in or on_request(error):
            raise
        raise HandlerFailed(
            f"lifespan: the {phase} in {function_name(lifespan)} raised CancelledError; "
            "its own task was not cancelled, so it has awaited something that was"
        ) from error


def begun_by(call: Callable[[], object], inner: Lifespan[L] | None) -> Lifespan[Any]:
    """Return a lifespan whose set-up begins with this call; ``inner`` follows, if there is one."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        call()
        if inner is None:
            yield None
        else:
            async with inner() as state:
                yield state

    return lifespan if inner is None else functools.wraps(inner)(lifespan)
