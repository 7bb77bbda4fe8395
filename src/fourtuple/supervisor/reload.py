"""Watches the files of a program in development. It needs the package watchfiles (the extra ``reload``)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

#: What makes a difference to a service.
_SUFFIXES = (".py", ".toml")


class Watch:
    """While the block runs, calls ``saved(path)`` when a .py or .toml file below the current directory was saved."""

    def __init__(self, saved: Callable[[str], object], directory: str = ".") -> None:
        self._saved = saved
        self._directory = directory
        self._end = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, name="fourtuple-reload", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def _watch(self) -> None:
        import watchfiles  # imported here: only development needs it

        chosen = watchfiles.DefaultFilter()
        for changes in watchfiles.watch(
            self._directory,
            watch_filter=lambda change, path: path.endswith(_SUFFIXES) and chosen(change, path),
            stop_event=self._end,
            raise_interrupt=False,
        ):
            path = os.path.relpath(min(path for _, path in changes))
            self._loop.call_soon_threadsafe(self._saved, path)

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join(5.0)
