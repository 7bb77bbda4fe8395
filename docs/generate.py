"""Write the pages of the reference that are made from the code: options, errors, events.

python docs/generate.py
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, UnionType

sys.path.insert(0, str(Path(__file__).parent))

import fields  # it is beside us

from fourtuple import errors, events
from fourtuple.cli.flags import shown
from fourtuple.client.options import Connect
from fourtuple.errors import ConnectError
from fourtuple.framing import Framing
from fourtuple.framing.text import framing_class, known_words
from fourtuple.inspector.fields import FIELDS
from fourtuple.load import Load
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.observe.declared import METRICS
from fourtuple.options import FAMILIES, Operations, Options, Pool, Processes, Pushes, Reconnect, Retries, declared

REFERENCE = Path(__file__).parent / "reference"

OPTIONS = """\
# Options

<!-- made by docs/generate.py from src/fourtuple/options/: change it there -->

Every option has a name, a unit, a default and a reason for the default. You can set an option in four places:

- in a program, as an argument of its family: `Server(service, limits=Limits(max_connections=100))`
  (not `Processes`: the command starts worker processes);
- on the command line, as a flag: `--max-connections 100`;
- in the environment, as a variable: `FOURTUPLE_MAX_CONNECTIONS=100`;
- in `fourtuple.toml`, as a key in the table of its family.

A flag wins over the environment, the environment over the file, and the file over the default.

Sizes are octets and may be written `64k` or `1m`. Times are seconds. `none` means no limit, or the kernel's own choice.
All values are checked before a socket is opened.
"""


ERRORS = """\
# Errors

<!-- made by docs/generate.py from src/fourtuple/errors/: change it there -->

Every error that fourtuple raises is a `FourTupleError`. Each error is also a subclass of the builtin exception that
programs already catch: `except ConnectionRefusedError`, `except TimeoutError` and `except EOFError` work. The text says
what happened, on which connection, the number seen and the number allowed. Attributes hold the same data.

Import them from `fourtuple.errors`.
"""

EVENTS = """\
# Events

<!-- made by docs/generate.py from src/fourtuple/events/: change it there -->

A server reports what happens by calling an observer: any function that takes one event. Everything that a server
prints, counts or writes to a log comes from events. Pass your observer as `Server(service, observer=...)`. It runs on
the loop and must not block. Without an observer, only handlers that raise are logged, to the logger `fourtuple` of
`logging`, and calls that hold the loop, [where a watchdog runs](../explanation/held-loop.md).

In logs an event is named as its class is, in kebab case: `HandlerRaised` is `handler-raised`. That is its `kind`.

Import them from `fourtuple.events`. [How to use them](../how-to/limits.md#see-what-happens).
"""


NAMES = """\
# Names

<!-- made by docs/generate.py from the __all__ of each module: change it there -->

Every public name, by module. Anything else may change without notice. `import fourtuple` imports no other module: names
are imported when they are asked for.

Two more kinds of modules are public. `fourtuple.testing.plugin` is [the pytest
plugin](testing.md#the-pytest-plugin), with the fixtures `tcp_server` and `tcp_client`. Each module of
`fourtuple.services` (`chargen`, `daytime`, `discard`, `echo`, `qotd`, `sixteen`, `time`, `upper`) has a service for
trying things out, by the name `service`.
"""

#: The public modules, in the order of the page.
PUBLIC = (
    *("fourtuple", "fourtuple.blocking", "fourtuple.framing", "fourtuple.options", "fourtuple.errors"),
    *("fourtuple.events", "fourtuple.observe", "fourtuple.tls", "fourtuple.proxy", "fourtuple.testing"),
    *("fourtuple.testing.strategies", "fourtuple.testing.fuzz"),
    "fourtuple.adapters",
    "fourtuple.load",
    "fourtuple.inspector",
    "fourtuple.operations",
)


def with_a_text() -> Iterator[type[Framing]]:
    """The framings that have a word in the grammar of text forms."""
    for word in known_words():
        with contextlib.suppress(KeyError):
            yield framing_class(word)


WITH_A_TEXT = frozenset(with_a_text())


#: Every family of options.
ALL_FAMILIES: tuple[type[Options], ...] = (*FAMILIES, Connect, Reconnect, Pool, Retries, Pushes, Load)


def options_page() -> str:
    """Every option of every family."""
    return "\n".join([OPTIONS, *map(family_section, ALL_FAMILIES)])


def family_section(family: type[Options]) -> str:
    """One family: what it is, and a table of its options."""
    name = family.__name__
    if family is Processes:  # the class has no public name: the command makes the processes
        where = "Flags of `fourtuple serve`, `[processes]` in `fourtuple.toml`."
    elif family is Operations:
        where = (
            "`Operator(Operations(...))` of `fourtuple.operations` in a program, `[operations]` in `fourtuple.toml`."
        )
    elif family in FAMILIES:
        where = f"`{name}(...)` in a program, `[{name.lower()}]` in `fourtuple.toml`."
    elif family is Load:
        where = f"`{name}(...)` of `fourtuple.load` in a program, flags of `fourtuple bench`."
    elif family is Connect:
        where = "Arguments of `fourtuple.connect(address, framing, ...)` and `fourtuple.blocking.connect(...)`."
    elif family in (Pool, Retries, Pushes):
        where = f"`{name.lower()}={name}(...)` of `fourtuple.Client` and `fourtuple.blocking.Client`."
    else:
        where = f"`{name}(...)` in a program, for `connect()`."
    rows = "\n".join(rows_of(family))
    return f"## {name}\n\n{text_of(family)}\n\n{where}\n\n{rows}\n"


def rows_of(family: type[Options]) -> Iterator[str]:
    """The lines of a family's table."""
    yield "| option | default | what it is | why this default |"
    yield "|---|---|---|---|"
    for option in declared(family):
        flag = f"<br>`{option.flag}`" if family in (*FAMILIES, Load) else ""
        unit = f", in {option.unit}" if option.unit and option.unit not in option.help else ""
        default = shown(option) or "empty"
        yield f"| `{option.name}`{flag} | {default} | {cell(option.help)}{unit} | {cell(option.reason)} |"


def cell(text: str) -> str:
    """Text that ends no table cell."""
    return text.replace("|", "\\|")


def errors_page() -> str:
    """Every error, and what the ways to fail of connect() mean."""
    rows = ["| error | is a | what happened |", "|---|---|---|"]
    ways = ["", "## Why connect() failed", "", "The `explanation` of each `ConnectError` says what to check.", ""]
    for kind in classes(errors, errors.FourTupleError):
        parents = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        rows.append(f"| `{kind.__name__}` | {parents} | {cell(text_of(kind))} |")
        if issubclass(kind, ConnectError) and kind is not ConnectError:
            ways.append(f"- **{kind.meaning}** (`{kind.__name__}`): {kind.explanation}")
    return "\n".join([ERRORS, *rows, *ways, ""])


def events_page() -> str:
    """Every event with its data."""
    rows = ["| event | data | what happened |", "|---|---|---|"]
    for kind in classes(events, events.Event):
        if kind is not events.Event:
            data = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
            rows.append(f"| `{kind.__name__}` | {data} | {cell(text_of(kind))} |")
    return "\n".join([EVENTS, *rows, ""])


def names_page() -> str:
    """Every public name of every public module."""
    return "\n".join([NAMES, *(module_section(name) for name in PUBLIC)])


def module_section(name: str) -> str:
    """One module: what it is, and a table of its names."""
    module = importlib.import_module(name)
    rows = ["| name | what it is |", "|---|---|"]
    for each in sorted(module.__all__, key=str.lower):
        value = getattr(module, each)
        about = comment_above(module, each) or line_about(value)
        rows.append(f"| {cell(shown_name(each, value))} | {cell(about)} |")
    return f"## {name}\n\n{text_of(module)}\n\n" + "\n".join(rows) + "\n"


def shown_name(name: str, value: object) -> str:
    """A name as it is used; a framing with its parameters and its text form."""
    if not (inspect.isclass(value) and issubclass(value, Framing)):
        return f"`{name}()`" if inspect.isfunction(value) else f"`{name}`"
    fields = [each for each in dataclasses.fields(value) if each.repr] if dataclasses.is_dataclass(value) else []
    parameters = ", ".join(
        each.name if each.default is dataclasses.MISSING else f"{each.name}={each.default!r}" for each in fields
    )
    text = f"<br>text form `{value.word}`" if value in WITH_A_TEXT else ""
    return f"`{name}({parameters})`{text}"


def comment_above(module: ModuleType, name: str) -> str:
    """The ``#:`` comment above a constant, where the module that defines it has one."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module and name in (alias.name for alias in node.names):
            lines = inspect.getsource(importlib.import_module(node.module)).splitlines()
            at = next((at for at, line in enumerate(lines) if re.match(rf"{name}\b.* = ", line)), 0)
            above = [line.removeprefix("#:").strip() for line in comments_at_the_end(lines[:at])]
            return markdown(" ".join(above))
    return ""


def comments_at_the_end(lines: list[str]) -> list[str]:
    """The lines at the end that are ``#:`` comments."""
    begin = len(lines)
    while begin and lines[begin - 1].startswith("#:"):
        begin -= 1
    return lines[begin:]


def line_about(value: object) -> str:
    """The first sentence of what is documented, or the value of a constant."""
    documented = inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value)
    if not documented and type(value).__name__.startswith("_"):  # a value that has a class of its own
        value = type(value)
        documented = True
    if isinstance(value, UnionType):
        return f"The type `{value!r}`."  # its own type has another name on Python 3.14
    if not documented:
        return f"{type(value).__name__}: `{value!r}`"
    first = (inspect.getdoc(value) or "").split("\n\n")[0]
    return markdown(re.sub("::$", ".", " ".join(first.split())))


def classes(module: ModuleType, base: type) -> Iterator[type]:
    """The classes of this kind among the public names of a module, in their order."""
    for kind in (getattr(module, name) for name in module.__all__):
        if inspect.isclass(kind) and issubclass(kind, base):
            yield kind


def text_of(kind: type | ModuleType) -> str:
    """A docstring as a line of Markdown."""
    return markdown(" ".join((inspect.getdoc(kind) or "").split("::")[0].split()))


def markdown(text: str) -> str:
    """Plain text of a docstring as Markdown."""
    text = text.replace("``", "`")
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)


SOCKETS = """\
# Sockets: fields

<!-- made by docs/generate.py from src/fourtuple/inspector/fields.py and net/tcpinfo.py: change it there -->

What [`fourtuple sockets`](command-line.md#fourtuple-sockets-filter) and `fourtuple.inspector` know of a socket. [How to
use it](../how-to/sockets.md).

## In a program

| of `fourtuple.inspector` | what it is |
|---|---|
| `sockets(where="", ...)` | asks the kernel; returns a `Snapshot` of the sockets that the filter `where` chooses |
| `Snapshot` | `sockets`, of these `listeners`, `connections` and `unix`; `counters`; `source`, how it was asked |
| `PassiveSocket` | a listener: `address`, `queue` (an [`AcceptQueue`](#acceptqueue)), `sharing`, `waiting` |
| `ActiveSocket` | a connection: `name`, `receive_queue`, `send_queue`, `info`, `timer`, `memory` |
| `TcpInfo`, `KernelTimer`, `Memory` | of a connection: [its numbers](#tcpinfo), the timer that runs, octets of memory |
| `UnixSocket` | a Unix socket: `path`, `kind`, `peer_inode`, and its queues |
| `Owner` | a process that holds a socket, in `owners` of each: `pid`, `program`, `descriptor` |
| `Counters` | what the machine dropped and sent again: `overflows`, `drops`, `syn_cookies`, `retransmitted` ... |
| `parse_filter(text)` | reads a filter; returns a `Filter`, whose call with a socket says whether it chooses that |

```python
>>> from fourtuple.inspector import parse_filter, sockets
>>> crowded = parse_filter("listening and queue > 100")
>>> [each.address for each in sockets().listeners if crowded(each)]
[]
```

## Fields of filters

`--sort` and `--group` take the same names, and `--csv` has a column for each.

"""

FILTERS = """
| kind | compared by | values |
|---|---|---|
| word | `=` `!=` `in` `~` (contains) | a word, or text in quotes; upper and lower case are the same |
| number | all but `~` | without a unit |
| duration | all but `~` | with `us`, `ms`, `s`, `m`, `h` or `d`; seconds in CSV |
| size, rate | all but `~` | octets, and octets a second; `k`, `m` and `g` are KiB, MiB and GiB |
| address | `=` `!=` `in` | an address or a network, IPv4 or IPv6; for a Unix socket its path |
| port | all but `~` | a number or a range |
| flag | | stands alone, or after `not` |

`=`, `!=` and `in` take several values, separated by commas: any of them. A field that the kernel does not report
matches no comparison, not even `!=`. `and` binds before `or`; parentheses group.

"""

TCP_INFO = """
## TcpInfo

What `connection.info()` returns, and what every connection of the inspector has as `info`: TCP_INFO, tcp(7). `us` are
microseconds, `ms` milliseconds. A field is `None` where the running kernel does not have it.

"""


def sockets_page() -> str:
    """What can be asked of a socket, and the fields of TCP_INFO, from their declarations."""
    rows = [f"| `{each.name}` | {each.kind} | {markdown(each.meaning)} |" for each in FIELDS.values()]
    page = SOCKETS + "| field | kind | what it is |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    page += FILTERS.rstrip() + "\n"
    numbers = "\n".join(f"| `{name}` | {cell(markdown(text))} |" for name, text in commented(TcpInfo))
    queue = "\n".join(f"| `{name}` | {cell(markdown(text))} |" for name, text in commented(AcceptQueue))
    page += TCP_INFO.rstrip() + "\n\n| field | what it is |\n|---|---|\n" + numbers + "\n"
    return page + f"\n## AcceptQueue\n\n{text_of(AcceptQueue)}\n\n| field | what it is |\n|---|---|\n{queue}\n"


def commented(kind: type) -> Iterator[tuple[str, str]]:
    """The fields of a class with the comments (``#:``) above them."""
    for found in re.finditer(r"((?:^    #: .*\n)+)^    (\w+):", inspect.getsource(kind), re.MULTILINE):
        yield found[2], " ".join(line.strip().removeprefix("#: ") for line in found[1].splitlines())


METRICS_PAGE = """\
# Metrics

<!-- made by docs/generate.py from src/fourtuple/observe/declared.py: change it there -->

What the page `/metrics` of [`fourtuple serve --http`](../how-to/metrics.md) has. With `--workers`, values are summed
over the workers, or the largest is taken where that is said. Counters do not fall when a worker ends.

"""


def metrics_page() -> str:
    """Every metric, from its declaration."""
    rows = ["| metric | kind | labels | what it is |", "|---|---|---|---|"]
    for metric in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        more = " The largest of all workers." if metric.merged == "max" else ""
        if metric.bounds:
            more += " Buckets up to " + ", ".join(f"{bound:,g}" for bound in metric.bounds) + "."
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.help)}{more} |")
    return METRICS_PAGE + "\n".join(rows) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "metrics.md": metrics_page,
    "sockets.md": sockets_page,
    "options.md": options_page,
    "errors.md": errors_page,
    "events.md": events_page,
    "names.md": names_page,
}

if __name__ == "__main__":
    for path, source in fields.rewritten([*ALL_FAMILIES]).items():
        path.write_text(source)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
