"""Operations: the control socket, readiness and liveness, the page of metrics, the dashboard, OpenTelemetry.

They act on a :class:`~fourtuple.operations.subject.Subject`: one server or several, or a supervisor.
``fourtuple serve`` starts them, see :class:`fourtuple.options.Operations`; so does an :class:`Operator` in a program of
your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.operations.operator import Operator
    from fourtuple.operations.otel import Telemetry
    from fourtuple.options import Operations

__all__ = ["Operations", "Operator", "Telemetry"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.operations.operator": ("Operator",),
            "fourtuple.operations.otel": ("Telemetry",),
            "fourtuple.options": ("Operations",),
        },
    )
