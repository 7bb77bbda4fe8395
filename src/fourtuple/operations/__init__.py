"""Operations: the control socket, readiness and liveness, the page of metrics, the dashboard.

They act on a :class:`~fourtuple.operations.subject.Subject`: one server or several, or a supervisor.
"""
