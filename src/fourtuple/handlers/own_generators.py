"""The async generators of handlers, which the loop does not have to know.

The loop is told of every async generator that begins (:func:`sys.set_asyncgen_hooks`), and keeps all of them in a set,
to close them in ``loop.shutdown_asyncgens()``. That takes a fifth of the time of an async generator's reply. That of a
handler is closed when its message has ended, in every case. So the hook leaves these out, and passes on the others.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any


class OwnGenerators:
    """The hook, on top of the loop's own."""

    __slots__ = ("_then", "beginning")

    def __init__(self, then: Callable[[AsyncGenerator[Any, Any]], None] | None) -> None:
        self._then = then
        #: The generator of a handler that begins next.
        self.beginning: AsyncGenerator[Any, Any] | None = None

    def first(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Called by the interpreter when a generator begins."""
        if generator is self.beginning:
            # It fits once: the interpreter calls the hook at a generator's first step only.
            self.beginning = None
        elif self._then is not None:
            self._then(generator)


def own_generators() -> OwnGenerators:
    """Return the hook of the loop that runs. The loop removes it when it ends."""
    first = sys.get_asyncgen_hooks().firstiter
    hook = getattr(first, "__self__", None)
    if not isinstance(hook, OwnGenerators):
        hook = OwnGenerators(first)
        sys.set_asyncgen_hooks(firstiter=hook.first)
    return hook
