"""Empty values, as of a shell variable that is not set: each is an error that names the option, or has a meaning.

And other wrong values: an error quotes what was typed, and is told before anything is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.conftest import Run
from fourtuple.cli.failure import Failure
from fourtuple.cli.flags import _OptionFlag
from fourtuple.cli.main import _SUBCOMMANDS, cli

#: Options for which an empty text is a value, or that are checked together with others.
MEANT = {
    "--send": "an empty message",
    "--template": "an empty message",
    "--toxic": "checked with all toxics",
    "--control": "checked with the variable",
    **dict.fromkeys(("--port", "--program", "--pid", "--state", "--peer"), "checked as a filter"),
}


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    for each in _SUBCOMMANDS if group is cli else group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, each)
        else:
            yield f"{name} {each}".strip(), command


OPTIONS = [
    pytest.param(command, option, id=f"{name} {option.opts[0]}")
    for name, command in commands(cli)
    for option in command.params
    if isinstance(option, click.Option) and not isinstance(option, _OptionFlag) and option.opts[0] not in MEANT
    if not option.is_flag
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_empty_value_is_an_error_that_names_the_option(command: click.Command, option: click.Option) -> None:
    with pytest.raises((click.UsageError, Failure)) as caught:
        option.type_cast_value(click.Context(command), [""] if option.multiple else "")
    error = caught.value
    assert option.opts[0] in (error.format_message() if isinstance(error, click.UsageError) else str(error))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "echo", "--config", ""), "Invalid value for '--config': expected a file, got an empty text"),
        (("serve", "echo", "--host", ""), "Invalid value for '--host': expected a host, got an empty text"),
        (("connect", "127.0.0.1:1", "--tls-ca", ""), "fourtuple: --tls-ca: expected a text or none, got an empty text"),
        (("connect", "127.0.0.1:1", "--file", ""), "Invalid value for '--file': expected a file, got an empty text"),
        (("bench", "127.0.0.1:1", "--json", ""), "Invalid value for '--json': expected a file, got an empty text"),
        (("bench", "127.0.0.1:1", "--close", ""), "fourtuple: --close: expected one of fin, reset, got ''"),
        (("probe", "127.0.0.1:1", "--server-name", ""), "Invalid value for '--server-name': expected a name, got an"),
        (("relay", ":0", ":1", "--pcap", ""), "Invalid value for '--pcap': expected a file, got an empty text"),
        (("relay", ":0", ":1", "--target-tls-ca", ""), "fourtuple: --target-tls-ca: expected a text or none, got an"),
        (("sockets", "--group", ""), "Invalid value for '--group': expected a field, got an empty text"),
        (("status", "--control", ""), "fourtuple: --control is empty: the path of a socket is needed"),
        (("limits", "show", "--service", ""), "'--service': expected the name of a service, got an empty text"),
    ],
)
def test_the_texts_of_some(run: Run, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert says in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("connect", "127.0.0.1:1", "--local", "nope"), "'--local': cannot read address 'nope': a local address is a"),
        (("probe", "127.0.0.1:1", "--local", "nope:4"), "'--local': cannot read address 'nope:4': a local address is"),
        (("bench", "127.0.0.1:1", "--local", "nope"), "fourtuple: cannot read address 'nope': a local address is a"),
        (("probe", "127.0.0.1:1", "--tls-ca", "nope"), "fourtuple: --tls-ca: cannot read nope: No such file"),
        (("probe", "127.0.0.1:1", "--server-name", ".."), "fourtuple: --server-name: expected the name in the server"),
        (("probe", "fd:3"), "fourtuple: cannot read address 'fd:3': a descriptor is for servers"),
        (("probe", "*:80"), "fourtuple: cannot read address '*:80': '*' means every address of this machine"),
        (("relay", "127.0.0.1:0", "fd:9"), "fourtuple: cannot read address 'fd:9': a descriptor is for servers"),
        (("relay", ":0", ":1", "--toxics", "/dev/zero"), "--toxics /dev/zero: expected a regular file, got a device"),
        (("serve", "echo", "--config", "mine"), "fourtuple: mine: No such file or directory"),
        (("check", "echo", "--config", "mine"), "fourtuple: mine: No such file or directory"),
        (("relay", "127.0.0.1:0", "exec:"), "fourtuple: 'exec:': a command is needed, as in exec:sort"),
        (("relay", "127.0.0.1:0", "exec:no-such"), "fourtuple: exec:no-such: there is no program 'no-such', or it may"),
    ],
)
def test_an_error_quotes_what_was_typed(run: Run, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert says in done.err


def test_a_name_that_cannot_be_resolved_has_no_number_of_an_error(run: Run) -> None:
    done = run("serve", "echo", "--bind", "nobody.invalid:0")
    assert done.code == 3
    assert "the name 'nobody.invalid' cannot be resolved: " in done.err
    assert "[Errno" not in done.err


def test_no_configuration_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text("[limits]\nmax_batch = 7\n")
    assert "max_batch = 7" in run("check", "echo").text
    assert run("check", "echo", "--no-config").text == "# File: none\n"
    for command in (("check", "echo"), ("serve", "echo"), ("relay", "127.0.0.1:0", "127.0.0.1:1")):
        done = run(*command, "--no-config", "--config", "fourtuple.toml")
        assert done.code == 2
        assert "Give either --config or --no-config." in done.err
    (tmp_path / "fourtuple.toml").write_text("[limits]\nmax_batch = -7\n")
    done = run("serve", "--no-config")
    assert "Give either a TARGET or --exec CMD" in done.err


@pytest.mark.parametrize("flag", ["--allow", "--deny", "--tls-sni", "--tls-alpn", "--http-hosts"])
def test_an_empty_list_is_not_taken_for_none(run: Run, flag: str) -> None:
    """With ``--allow "$NETWORKS"``, a variable that is not set would let everyone in."""
    done = run("check", "echo", flag, "")
    assert done.code == 2
    assert f"'{flag}': cannot read '' as text or none" in done.err
    variable = "FOURTUPLE_" + flag.removeprefix("--").replace("-", "_").upper()
    done = run("check", "echo", **{variable: ""})
    assert done.code == 2
    assert f"{variable}: cannot read '' as text or none" in done.err


def test_none_clears_a_list(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text('[limits]\nallow = "10.0.0.0/8"\ndeny = ""\n')
    assert 'allow = "10.0.0.0/8"' in run("check", "echo").text
    done = run("check", "echo", "--allow", "none")
    assert 'allow = ""  # --allow' in done.text
    assert 'deny = ""' in done.text
