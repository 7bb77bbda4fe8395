"""How a command fails: with one clear line on standard error and an exit code, without a traceback."""

from __future__ import annotations

import re
import sys
from enum import IntEnum

from fourtuple.cli.standard_files import tell_last
from fourtuple.cli.terminal import painter
from fourtuple.errors import OptionError
from fourtuple.printable import printable, text_of

#: The option's name, with which the text of an option error begins: a command prints the flag instead.
_OPTION = re.compile(r"\A[a-z][a-z_]*(?=: )")
#: Options whose flags have another name.
_FLAGS = {"server_hostname": "server_name", "target_server_hostname": "target_server_name"}


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1  #: the peer or its protocol; a stop that cut conversations or handlers
    USAGE = 2  #: invalid arguments
    NO_START = 3  #: cannot listen, cannot connect
    TIMED_OUT = 4
    INTERRUPTED = 130  #: by Ctrl-C: 128 plus the number of SIGINT, as in shells


class Failure(Exception):
    """A command cannot continue: it prints one line, and an explanation below it if there is one."""

    def __init__(self, message: object, code: int, explanation: str = "") -> None:
        text = text_of(message)
        if isinstance(message, OptionError):
            text = _OPTION.sub(lambda found: "--" + _FLAGS.get(found[0], found[0]).replace("_", "-"), text)
        super().__init__(text)
        self.code = code
        self.explanation = explanation

    def at(self, place: str) -> Failure:
        """Return the same failure, with the place at which what has failed was given."""
        return Failure(f"{place}: {self}", self.code, self.explanation)

    def show(self) -> None:
        """Print it; text from a peer or the user is escaped."""
        paint = painter(sys.stderr)
        below = f"\n{self.explanation}" if self.explanation else ""
        tell_last(f"{paint('bold red', 'fourtuple:')} {printable(str(self))}{below}")


class Interrupted(Exception):
    """Ctrl-C at a prompt, which reads it as a key: the command ends as by SIGINT."""
