"""The rolls and upgrades of ``fourtuple serve --workers``: for SIGHUP, SIGUSR2, and files that were saved."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import click

from fourtuple.cli.beforehand import check_for_workers
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.programs import Program, difference
from fourtuple.errors import OptionError, SupervisorError
from fourtuple.events import Observer
from fourtuple.net.sdnotify import Manager
from fourtuple.supervisor import events
from fourtuple.supervisor.subject import Supervised
from fourtuple.supervisor.supervisor import Supervisor


class Rolls:
    """Rolls the workers of a supervisor with the configuration read again, and upgrades it.

    ``read`` reads the configuration, ``tell`` prints an event, and ``soon`` runs a coroutine as a task of the run.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        subject: Supervised,
        manager: Manager,
        *,
        read: Callable[[], Program],
        tell: Observer,
        soon: Callable[[Coroutine[Any, Any, Any]], object],
    ) -> None:
        self._supervisor = supervisor
        self._subject = subject
        self._manager = manager
        self._read = read
        self._tell = tell
        self._soon = soon
        #: Set when all workers listen: what signals ask for before that follows then.
        self._begun = asyncio.Event()
        #: The process id of the supervisor after this one.
        self._successor: int | None = None

    def begin(self) -> None:
        """Do what was asked for already, and from now on what is asked for: all workers listen."""
        self._begun.set()

    def hand_over(self, pid: int) -> None:
        """Pass rolls on from now on, to the supervisor that has taken over."""
        self._successor = pid

    # -- rolls --------------------------------------------------------------------------------------------

    def roll(self) -> None:
        """Roll, for SIGHUP."""
        self._soon(self._rolled("by SIGHUP"))

    def saved(self, path: str) -> None:
        """Roll, for a file that was saved."""
        self._soon(self._rolled(f"{path} was saved"))

    async def _rolled(self, why: str) -> None:
        await self._begun.wait()
        done = self._successor is None and await self._rolls(why)
        if self._successor is not None:
            # It may have imported its code before this was asked for.
            with suppress(ProcessLookupError):
                os.kill(self._successor, signal.SIGHUP)
            return
        if self._supervisor.stopping:
            return
        self._manager.ready(
            f"{len(self._supervisor.slots)} workers" + ("" if done else ", the last roll was abandoned")
        )

    async def _rolls(self, why: str) -> bool:
        self._manager.reloading()
        return self._take_configuration() and await self._supervisor.roll(why)

    def _take_configuration(self) -> bool:
        """Read the configuration again; return whether new workers can start with it."""
        try:
            program = self._read()
            self._check_addresses(program)
            check_for_workers(program)
            self._subject.take_limits(program.limits)
        except OptionError as error:
            self._tell(events.RollAbandoned(f"{error}, as 'fourtuple limits set' has changed it"))
            return False
        except (Failure, click.UsageError) as error:
            self._tell(events.RollAbandoned(error.message if isinstance(error, click.UsageError) else str(error)))
            return False
        self._supervisor.change_deadlines(program.deadlines)
        return True

    def _check_addresses(self, program: Program) -> None:
        """Raise a :class:`Failure` if a program listens elsewhere: the passive sockets are open, and stay."""
        before, now = (
            [(each.label, str(each.address)) for each in addresses]
            for addresses in (self._supervisor.listen_on, program.listen_on)
        )
        if changed := difference(before, now):
            raise Failure(changed, Exit.USAGE)

    # -- upgrades -----------------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Start the program again and hand over to it, for SIGUSR2."""
        self._soon(self._upgraded())

    async def _upgraded(self) -> None:
        await self._begun.wait()
        with suppress(SupervisorError, OSError):  # the observer was told
            await self._supervisor.upgrade()
