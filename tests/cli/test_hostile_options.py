"""Hostile values of options: an error with the place and the name, in check and serve alike, and no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from cli.conftest import Run
from fourtuple.cli import serve_run
from fourtuple.cli.check import check
from fourtuple.cli.failure import Failure
from fourtuple.cli.serve import serve
from fourtuple.config import FAMILIES
from fourtuple.errors import OptionError
from fourtuple.options import Declared, Operations, Sockets, Tls, declared
from fourtuple.serving.group import Group
from fourtuple.signals import StopSignals

pytestmark = pytest.mark.slow  # a sweep

#: As TOML. No number is that of a user: the tests may run as root.
HOSTILE = {
    "nul": r'"a\u0000b"', "superscript": '"²"', "empty": '""', "long": f'"{"a" * 5000}"', "negative text": '"-5"',
    "huge text": f'"{"9" * 30}"', "very many digits": f'"{"9" * 5000}"', "negative": "-5", "huge": "9" * 30,
    "switch": "true", "list": "[1]", "table": "{}", "infinite": "inf", "no number": "nan", "date": "2026-01-01",
}  # fmt: skip
OPTIONS = [(table, option) for table, family in FAMILIES.items() for option in declared(family)]


def code_of(command: click.Command, *arguments: str) -> tuple[int, str]:
    """Run a command in this process; any other exception than a usage error or a failure passes through."""
    try:
        command.main(list(arguments), standalone_mode=False)
    except SystemExit as done:
        return int(done.code or 0), ""
    except Failure as failure:
        return failure.code, str(failure)
    except click.ClickException as error:
        return error.exit_code, error.message
    return 0, ""


async def started_and_stopped(group: Group, _signals: StopSignals, begin: Any) -> None:
    async with group:
        begin()


@pytest.mark.parametrize(("table", "option"), OPTIONS, ids=[f"{table}.{option.name}" for table, option in OPTIONS])
def test_any_value_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, option: Declared) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve_run, "serve_until_stopped", started_and_stopped)
    for what, value in HOSTILE.items():
        Path("hostile.toml").write_text(f"[{table}]\n{option.name} = {value}\n")
        checked = code_of(check, "echo", "--files", "--config", "hostile.toml")
        served = code_of(
            serve, "echo", "--bind", "unix:u.sock", "--bind", "127.0.0.1:0", "--config", "hostile.toml", "-q"
        )
        assert checked == served, (what, checked, served)
        assert checked[0] in (0, 2, 3), (what, checked)
        if checked[0] == 2 and "a server needs a certificate" not in checked[1]:
            assert "hostile.toml: " in checked[1], (what, checked)
            assert option.name in checked[1], (what, checked)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("[tls]\ncertificate", r'"a\u0000b"', r"[tls] certificate: expected a text without NUL, got 'a\x00b'"),
        ("[operations]\ncontrol", r'"a\u0000b"', r"[operations] control: expected a text without NUL, got 'a\x00b'"),
        ("[operations]\nuser", '"²"', "[operations] user: there is no user '²' on this machine"),
        ("[operations]\ngroup", '"4294967295"', "[operations] group: expected a name, or a number of no more than "
                                                "4294967294, got '4294967295'"),
        ("[sockets]\nunix_owner", '"root:99999999999"', "[sockets] unix_owner: expected a name, or a number of no more "
                                                        "than 4294967294, got 'root:99999999999'"),
        ("[sockets]\nunix_owner", '"-5"', "[sockets] unix_owner: there is no user '-5' on this machine"),
        ("[sockets]\ninterface", '"absent0"', "[sockets] interface: the kernel refuses 'absent0' (No such device)"),
        ("[sockets]\ncongestion", f'"{"a" * 16}"', "[sockets] congestion: expected the name of a congestion control, "
                                                   f"of no more than 15 octets, got '{'a' * 16}'"),
        ("[tls]\nca", '""', "[tls] ca: expected a text or none, got an empty text; none turns it off"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_the_place_in_the_file_is_named(
    run: Run, tmp_path: Path, key: str, value: str, said: str, workers: tuple[str, ...]
) -> None:
    (tmp_path / "fourtuple.toml").write_text(f"{key} = {value}\n")
    checked = run("check", "echo", "--files", *workers)
    served = run("serve", "echo", "--bind", "unix:u.sock", *workers)
    assert checked.err == served.err == f"fourtuple: fourtuple.toml: {said}\n"
    assert (checked.code, served.code) == (2, 2)


def test_the_flag_is_named(run: Run) -> None:
    for flag, value, said in (
        ("--group", "4294967296", "expected a name, or a number of no more than 4294967294, got '4294967296'"),
        ("--user", "²", "there is no user '²' on this machine"),
        ("--unix-owner", "-5", "there is no user '-5' on this machine"),
        ("--interface", "absent0", "the kernel refuses 'absent0' (No such device)"),
        ("--control", ".", "a file that is not a socket exists there"),
    ):
        done = run("serve", "echo", "--bind", "127.0.0.1:0", f"{flag}={value}")
        assert (done.code, done.text) == (2, "")
        assert done.err.startswith(f"fourtuple: {flag}: ")
        assert done.err.endswith(f"{said}\n")


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        (Tls, "certificate", "a\0b"), (Tls, "key_password", 5), (Tls, "ca", ""), (Tls, "alpn", "a\0b"),
        (Tls, "sni", "a=b\0c"), (Operations, "user", "9" * 5000), (Operations, "group", "4294967295"),
        (Operations, "pidfile", "\0"), (Operations, "control", "\ud800"), (Sockets, "unix_owner", "a\0b"),
        (Sockets, "unix_owner", ":4294967295"), (Sockets, "interface", ""), (Sockets, "interface", "a" * 16),
        (Sockets, "congestion", "\0"),
    ],
)  # fmt: skip
def test_in_code_it_is_an_option_error(family: Any, name: str, value: object) -> None:
    extra = {"certificate": "x.pem"} if family is Tls and name != "certificate" else {}
    with pytest.raises(OptionError, match=f"^{name}: expected "):
        family(**{name: value}, **extra)
