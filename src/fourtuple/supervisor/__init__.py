"""Several worker processes behind one supervisor, which owns the passive sockets and never imports the user's code.

::

    steering  sharing  plan  seat            PURE: who gets connections, shares of limits, what a process is given
    places  slots                            the passive sockets; what is known of each worker
    process  channel  respawning  heartbeat  workers: started, asked, started again, ended
    changes  leaving  upgrade  supervisor    rolls, more or fewer workers, a new program; all of it together
    worker                                   the other side, in the worker
    fd_store  stored  reload                 sockets that the service manager keeps; files that are saved
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(__name__, {"fourtuple.supervisor.supervisor": ("Supervisor",)})
