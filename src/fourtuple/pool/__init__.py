"""The connections of a client that stays connected: everything about them that is decided without I/O.

The async client and the blocking client (:class:`fourtuple.Client`, :class:`fourtuple.blocking.Client`) only move
messages, and wait. When to connect, which connection gets which request, which reply answers it, what becomes of a
request whose connection is lost, and when a connection has served long enough, is decided here, once. The current time
is an argument, and randomness is a function that the caller passes.

A request goes through these parts::

    Call            calls.py        one request, from the call to its result
      | ask()
      v
    ConnectionPool  pool.py         queue of calls (first in, first out), members (last used, first used). Its parts:
      |   ^                         state.py, its fields and what is seen of them; losing.py, what becomes of a lost
      |   |                         connection; retries.py, which calls are tried again; receiving.py, messages to
      |   |                         calls and pushes; connecting.py, from an attempt to connect to a member
      |   |           \\
      |   |            Dialler      reconnecting.py  one attempt to connect at a time, and when the next may begin
      |   |            Deadlines    deadlines.py     the moments at which something is due
      |   |            RetryBudget  budget.py        how many repeated requests a server in trouble gets
      v   |
    Member          member.py       one connection: its age, and the attempts that wait for replies there
      |   |
      |   Outstanding   correlation.py   which reply answers which attempt: by order or by key
      v
    Link            link.py         the connection itself, as far as the pool knows it; the clients implement it
      |
      PushInbox     pushes.py       messages that answer no request
"""

from __future__ import annotations

from fourtuple.pool.calls import Call
from fourtuple.pool.correlation import Correlation
from fourtuple.pool.link import Link
from fourtuple.pool.member import Member
from fourtuple.pool.pool import ConnectionPool
from fourtuple.pool.pushes import Gap, PushInbox
from fourtuple.pool.state import Health

__all__ = ["Call", "ConnectionPool", "Correlation", "Gap", "Health", "Link", "Member", "PushInbox"]
