"""The pages of operations over HTTP: /live, /ready, /metrics, and the dashboard with its stream of numbers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from importlib.resources import files
from typing import Any

from fourtuple.observe.snapshot import Snapshot
from fourtuple.operations.exposition import exposed
from fourtuple.operations.frame import frame
from fourtuple.operations.http import Request, Response, plain
from fourtuple.operations.subject import Status, Subject

#: Seconds between two numbers on the dashboard.
EVENT_SECONDS = 1.0
_HTML = "text/html; charset=utf-8"
_STATIC = {
    "/": ("dashboard.html", _HTML),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
}
_INDEX = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>fourtuple</title>
<ul><li><a href="/live">/live</a><li><a href="/ready">/ready</a><li><a href="/metrics">/metrics</a></ul></html>
"""


class Pages:
    """Answers requests about a subject.

    ``dashboard`` says whether there is a dashboard. All open dashboards get the same numbers: they are collected once a
    second, and only while one is open.
    """

    def __init__(self, subject: Subject, *, dashboard: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._subject = subject
        self._dashboard = dashboard
        self._clock = clock
        self._latest: tuple[float, bytes] = (-EVENT_SECONDS, b"")
        self._lock = asyncio.Lock()

    async def __call__(self, request: Request) -> Response:
        match request.path:
            case "/live":
                return plain(200, "live")
            case "/ready":
                return plain(200, "ready") if self._subject.ready else plain(503, "not ready")
            case "/metrics":
                return await self._metrics(request)
            case "/events" if self._dashboard:
                return Response(200, content_type="text/event-stream", pieces=self._events())
            case "/" if not self._dashboard:
                return Response(200, _INDEX.encode(), _HTML)
            case path if self._dashboard and path in _STATIC:
                name, content_type = _STATIC[path]
                return Response(200, files(__package__).joinpath(name).read_bytes(), content_type)
        return plain(404, "there are /live, /ready, /metrics" + (" and / here" if self._dashboard else " here"))

    async def _metrics(self, request: Request) -> Response:
        page, content_type = exposed(await self._subject.metrics(), request.headers.get("accept", ""))
        return Response(200, page, content_type)

    async def _events(self) -> AsyncGenerator[bytes, None]:
        yield b"retry: 2000\n\n"
        while True:
            yield await self._event()
            await asyncio.sleep(EVENT_SECONDS)

    async def _event(self) -> bytes:
        """Return the newest numbers; several dashboards at once cost as much as one."""
        async with self._lock:
            at, event = self._latest
            now = self._clock()
            if now - at >= EVENT_SECONDS * 0.9:
                status, snapshot = await self._subject.status(), await self._subject.metrics()
                event = as_event(status, snapshot, now)
                self._latest = (now, event)
            return event


def as_event(status: Status, snapshot: Snapshot, now: float) -> bytes:
    """PURE: the numbers as one server-sent event. JSON has no line feed, so one line of data is enough."""
    told: dict[str, Any] = frame(status, snapshot, now)
    return b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n"
