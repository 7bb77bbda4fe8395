"""The prompt of ``fourtuple connect`` on a terminal: a line with editing and history, and replies above it.

prompt_toolkit, and not the standard library's readline: readline blocks a thread in one call until a key is pressed.
So it cannot end when the peer closes, and gives no way to print above the line being typed. prompt_toolkit runs on the
loop, ends when it is told to, and redraws the line below what was printed.

The history is kept in memory, for this conversation only: users may type passwords.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_input
from prompt_toolkit.output.vt100 import Vt100_Output

from fourtuple.cli.ends import write_all
from fourtuple.cli.failure import Interrupted
from fourtuple.cli.terminal import restored_at_hangup

_PROMPT = "> "
#: No bracketed paste, the cursor shown, and a line of its own for the shell's prompt.
_RESTORE = "\x1b[?2004l\x1b[?25h\r\n"


class Prompt:
    """The user's end of a conversation on a terminal: see :class:`fourtuple.cli.ends.Ends`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(restored_at_hangup(sys.stdout, _RESTORE))
        output = Vt100_Output.from_pty(sys.stdout)
        # It asks the terminal where the cursor is. If the terminal does not answer, prompt_toolkit prints a warning.
        output.enable_cpr = False
        self._stack.enter_context(create_app_session(create_input(sys.stdin), output))
        self._session: PromptSession[str] = PromptSession(
            _PROMPT, enable_suspend=True, interrupt_exception=Interrupted, eof_exception=EOFError
        )

    async def read(self) -> bytes:
        """Return the line that was typed, with its newline; empty octets after Ctrl-D."""
        try:
            line = await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
        except EOFError:
            return b""
        return line.encode("utf-8", "surrogateescape") + b"\n"

    async def write(self, octets: bytes) -> None:
        """Write what the peer sent above the line being typed. It ends with a newline: the prompt needs its own row."""
        self._above(lambda: write_all(octets if octets.endswith(b"\n") else octets + b"\n"))

    async def say(self, text: str) -> None:
        self._above(lambda: click.echo(text, err=True))

    def _above(self, write: Callable[[], None]) -> None:
        """Remove the line being typed, write, and redraw the line.

        Not by run_in_terminal(), which leaves the raw mode meanwhile: the terminal would take a Ctrl-D typed then.
        """
        app = self._session.app
        if not app.is_running:
            write()
            return
        app.renderer.erase()
        write()
        app.renderer.reset()
        app.invalidate()

    def close(self) -> None:
        self._stack.close()
