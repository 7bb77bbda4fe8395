"""The lifespan of a service: set-up and tear-down around serving, by a function that the user writes."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, TypeAlias

from fourtuple.cancelling import on_request
from fourtuple.errors import HandlerFailed, ServiceError
from fourtuple.options import check_callable, function_kind, function_name, seen, with_article
from fourtuple.options.functions import ASYNC_GENERATOR, PLAIN
from fourtuple.service.registration import check_arguments
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
    return _checked(given, decorated=False)


def decorated_lifespan(given: Callable[[], AbstractAsyncContextManager[L] | AsyncIterator[L]]) -> Lifespan[L]:
    """Return the lifespan of ``@service.lifespan``. Raises ServiceError for a function that cannot be one.

    That is an async generator function, with or without ``@asynccontextmanager``. Any other plain function is refused:
    it is the body of a lifespan in which ``async`` and ``yield`` are missing.
    """
    check_callable("lifespan", given, optional=False, kind=ServiceError)
    return _checked(given, decorated=True)


def _checked(given: Callable[[], Any], *, decorated: bool) -> Lifespan[Any]:
    kind = function_kind(given)
    if _made_by(contextmanager, given):
        raise ServiceError(
            f"lifespan: {function_name(given)} is made by @contextmanager; "
            "expected an async def with one yield, under no decorator or under @asynccontextmanager"
        )
    manager = kind == PLAIN and (_made_by(asynccontextmanager, given) or not decorated)
    if not manager and kind != ASYNC_GENERATOR:
        raise ServiceError(
            f"lifespan: {function_name(given)} is {with_article(kind)}{'' if 'gen' in kind else ' without a yield'}; "
            "expected an async def with one yield"
        )
    check_arguments("lifespan", given, ())
    return given if manager else asynccontextmanager(given)


def _made_by(decorator: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Return whether a function is what a decorator of contextlib returns: all that it returns have the same code."""
    code: object = getattr(function, "__code__", None)
    return code is not None and code is decorator(_body).__code__


def _body() -> Any:
    """The function of which :func:`_made_by` makes an example."""


class RunningLifespan(AbstractAsyncContextManager[L]):
    """Sets up, gives the service's state, tears down.

    Raises ServiceError if the function does not yield once, or returns no context manager, and HandlerFailed if it
    raises CancelledError although nothing has cancelled its task.

    It is no async generator itself: a loop that ends closes all of them at the same time, and they would close another.
    """

    def __init__(self, lifespan: Lifespan[L]) -> None:
        self._lifespan = lifespan
        self._manager: AbstractAsyncContextManager[L] | None = None

    async def __aenter__(self) -> L:
        with self._errors_named("set-up"):
            self._manager = _manager(self._lifespan)
            return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._manager is not None
        with self._errors_named("tear-down", error):
            return await self._manager.__aexit__(kind, error, trace)

    @contextmanager
    def _errors_named(self, phase: str, of_block: BaseException | None = None) -> Iterator[None]:
        """Name the function in errors of the lifespan, which are not ``of_block``."""
        try:
            yield
        except RuntimeError as error:
            wrong = _WRONG_YIELDS.get(str(error))
            if wrong is None:
                raise
            name = function_name(self._lifespan)
            raise ServiceError(f"lifespan: {name} {wrong}; it yields once, between set-up and tear-down") from error
        except asyncio.CancelledError as error:
            if error is of_block or on_request(error):
                raise
            raise HandlerFailed(
                f"lifespan: the {phase} in {function_name(self._lifespan)} raised CancelledError; "
                "its own task was not cancelled, so it has awaited something that was"
            ) from error


def _manager(lifespan: Lifespan[L]) -> AbstractAsyncContextManager[L]:
    """Make the context manager. Raises ServiceError if the function returns anything else."""
    made: Any = lifespan()
    if inspect.isasyncgen(made):  # of a lambda around an async generator function
        made = asynccontextmanager(lambda: made)()
    if not isinstance(made, AbstractAsyncContextManager):
        if inspect.iscoroutine(made):
            made.close()  # it is never awaited; without this, Python would warn
        raise ServiceError(
            f"lifespan: {function_name(lifespan)} returned {seen(made)}; expected an async context manager, "
            "as an async def with one yield gives it"
        )
    return made


def begun_by(call: Callable[[], object], inner: Lifespan[L] | None) -> Lifespan[Any]:
    """Return a lifespan whose set-up begins with this call; ``inner`` follows, if there is one."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        call()
        if inner is None:
            yield None
        else:
            async with _manager(inner) as state:
                yield state

    return lifespan if inner is None else functools.wraps(inner)(lifespan)
