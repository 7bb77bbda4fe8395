"""What is wrong with options alone is found before anything is opened, by a supervisor, too."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from certificates import Files
from cli.conftest import Run
from cli.test_services import declare
from fourtuple import Address
from fourtuple.cli.beforehand import check_http
from fourtuple.options import Operations


def test_a_supervisor_reads_the_certificates_before_it_listens(run: Run, tmp_path: Path) -> None:
    done = run("serve", "upper", "--workers", "2", "--port", "0", "--tls-certificate", "nope.pem")
    assert (done.code, done.text) == (2, "")
    assert done.err == "fourtuple: --tls-certificate: cannot read nope.pem: No such file or directory\n"


def test_a_supervisor_matches_the_key_of_each_endpoint(run: Run, tmp_path: Path) -> None:
    own, other = Files(tmp_path), Files(tmp_path, "other.example")
    declare(
        tmp_path,
        f"""
        [services.mail]
        target = "mail.py"
        listen = ["127.0.0.1:0"]
        [[services.mail.endpoints]]
        listen = ["127.0.0.1:0"]
        [services.mail.endpoints.tls]
        certificate = "{own.certificate}"
        key = "{other.key}"
        """,
        "mail",
    )
    one_process, workers = run("serve"), run("serve", "--workers", "2")
    assert (workers.code, workers.text) == (2, "")
    assert workers.err.startswith("fourtuple: mail/1: fourtuple.toml: ")
    assert f"key: the key in {other.key} does not belong to" in workers.err
    assert "worker" not in workers.err
    assert one_process == workers


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_the_place_of_the_control_socket_is_checked_before_anything_starts(run: Run, workers: tuple[str, ...]) -> None:
    done = run("serve", "upper", *workers, "--port", "0", "--control", "nodir/x.sock")
    assert (done.code, done.text) == (2, "")
    assert done.err == "fourtuple: --control: nodir/x.sock: there is no directory nodir\n"


def test_a_refusal_that_the_framing_cannot_carry_ends_the_start_as_with_one_process(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from fourtuple import Service\nprint('imported')\nservice = Service('line')\nservice.reply(lambda m: m)\n"
    )
    for wrong, told in (
        (("app.py", "--refusal", "two\nlines"), "--refusal: "),
        (("app.py:nothing", "--refusal", "busy"), "app.py"),
    ):
        one, several = (run("serve", *wrong, "--port", "0", *workers) for workers in ((), ("--workers", "2")))
        assert one.code == several.code == 2
        assert one.err == several.err
        assert one.err.startswith(f"fourtuple: {told}")
        assert several.text == ""


def test_the_refusal_of_each_endpoint_is_checked_before_workers_start(run: Run, tmp_path: Path) -> None:
    declare(
        tmp_path,
        """
        [services.mail]
        target = "mail.py"
        listen = ["127.0.0.1:0"]
        [[services.mail.endpoints]]
        listen = ["127.0.0.1:0"]
        limits = {refusal = "two\\nlines"}
        """,
        "mail",
    )
    one, several = run("serve"), run("serve", "--workers", "2")
    assert (one.code, one.err) == (several.code, several.err)
    assert several.code == 2
    assert "refusal: " in several.err
    assert "worker" not in several.err


def test_a_control_socket_and_pages_in_use_are_noticed_before_workers_start(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as control, socket.create_server(("127.0.0.1", 0)) as http:
        control.bind(str(tmp_path / "control.sock"))
        control.listen()
        port = str(http.getsockname()[1])
        for flags, told in (
            (("--control", "control.sock"), "cannot listen at unix:control.sock: address already in use"),
            (("--http", port), f"cannot listen at 127.0.0.1:{port}: address already in use (by pid "),
            (("--http", f"*:{port}"), f"cannot listen at 0.0.0.0:{port}: address already in use (by pid "),
        ):
            done = run("serve", "upper", "--workers", "2", "--port", "0", *flags)
            assert (done.code, done.text) == (3, ""), flags
            assert told in done.err
            assert "worker" not in done.err
    (tmp_path / "file").touch()
    for flag, place in (("--control", "file"), ("--http", "unix:file")):
        for workers in ((), ("--workers", "2")):
            done = run("serve", "upper", *workers, "--port", "0", flag, place)
            assert done.code == 2
            assert done.err == f"fourtuple: {flag}: file: a file that is not a socket exists there\n"
    # The file that a killed server has left is not an error, and neither is one beside which the server ends.
    done = run("serve", "nothing.py", "--workers", "1", "--port", "0", "--control", "control.sock")
    assert "nothing.py" in done.err


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])
@pytest.mark.parametrize(
    ("http", "bind"),
    [
        ("9999", "127.0.0.1:9999"),
        ("127.0.0.1:9999", "*:9999"),
        ("0.0.0.0:9999", "localhost:9999"),
        ("[::]:9999", "[::1]:9999"),
    ],
)
def test_the_pages_and_a_service_at_one_address(run: Run, http: str, bind: str, workers: tuple[str, ...]) -> None:
    done = run("serve", "upper", "--http", http, "--bind", bind, *workers)
    assert (done.code, done.text) == (2, "")
    assert "is also an address of the service" in done.err


@pytest.mark.parametrize(
    ("one", "other"),
    [("127.0.0.1:9999", "127.0.0.1:9998"), ("127.0.0.1:9999", "[::1]:9999"), ("127.0.0.1:0", "127.0.0.1:0"),
     ("0.0.0.0:9999", "[::1]:9999"), ("127.0.0.1:9999", "unix:x")],
)  # fmt: skip
def test_addresses_that_do_not_collide(one: str, other: str) -> None:
    check_http(Operations(http=one), [Address.parse(other)])
