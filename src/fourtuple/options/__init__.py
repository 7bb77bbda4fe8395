"""All options. Each is declared once: a field of a frozen dataclass with its unit, default and the default's reason.

:func:`declared` makes the command line's flags, the environment variables (``FOURTUPLE_MAX_CONNECTIONS``), the keys
of ``fourtuple.toml`` and the reference page of these fields. Seconds are floats, sizes are octets, and ``None`` means
"no limit" and must be given explicitly. All values are checked when the object is made, before a socket is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily
from fourtuple.options.checking import among as among
from fourtuple.options.checking import check_callable as check_callable
from fourtuple.options.checking import check_choice as check_choice
from fourtuple.options.checking import check_flag as check_flag
from fourtuple.options.checking import check_kind as check_kind
from fourtuple.options.checking import check_range as check_range
from fourtuple.options.checking import check_timeout as check_timeout
from fourtuple.options.checking import check_type as check_type
from fourtuple.options.checking import check_whole as check_whole
from fourtuple.options.checking import nearest as nearest
from fourtuple.options.checking import refuse as refuse
from fourtuple.options.checking import seen as seen
from fourtuple.options.deadlines import Deadlines
from fourtuple.options.declaring import KIB as KIB
from fourtuple.options.declaring import MIB as MIB
from fourtuple.options.declaring import Declared as Declared
from fourtuple.options.declaring import Options as Options
from fourtuple.options.declaring import declared as declared
from fourtuple.options.declaring import option as option
from fourtuple.options.declaring import parse_size as parse_size
from fourtuple.options.functions import call_plain as call_plain
from fourtuple.options.functions import check_function as check_function
from fourtuple.options.functions import check_runs as check_runs
from fourtuple.options.functions import code_of as code_of
from fourtuple.options.functions import function_kind as function_kind
from fourtuple.options.functions import function_name as function_name
from fourtuple.options.functions import refuse_unrun as refuse_unrun
from fourtuple.options.functions import taken_of as taken_of
from fourtuple.options.functions import unrun as unrun
from fourtuple.options.functions import with_article as with_article
from fourtuple.options.keywords import by_keyword as by_keyword
from fourtuple.options.keywords import check_keywords as check_keywords
from fourtuple.options.limits import DEFAULT_MAX_MESSAGE as DEFAULT_MAX_MESSAGE
from fourtuple.options.limits import DEFAULT_MAX_MESSAGE_MEMORY as DEFAULT_MAX_MESSAGE_MEMORY
from fourtuple.options.limits import OF_THE_SERVER as OF_THE_SERVER
from fourtuple.options.limits import Limits
from fourtuple.options.operations import Operations
from fourtuple.options.processes import Processes as Processes
from fourtuple.options.proxy import Proxy
from fourtuple.options.sockets import Sockets
from fourtuple.options.tls import Tls

if TYPE_CHECKING:
    from fourtuple.options.client import Pool, Pushes, Retries
    from fourtuple.options.connect import Reconnect

# The names that are imported `as` themselves are for other packages of fourtuple.
__all__ = [
    "Deadlines",
    "Limits",
    "Operations",
    "Pool",
    "Proxy",
    "Pushes",
    "Reconnect",
    "Retries",
    "Sockets",
    "Tls",
]

#: The families of a server's options.
FAMILIES: tuple[type[Options], ...] = (Limits, Deadlines, Sockets, Tls, Proxy, Operations, Processes)

# A server needs no options of clients.
if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {"fourtuple.options.client": ("Pool", "Pushes", "Retries"), "fourtuple.options.connect": ("Reconnect",)},
    )
