"""What is wrong with options alone is found before anything is opened, by a supervisor, too."""

from __future__ import annotations

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
    one, other = Files(tmp_path), Files(tmp_path, "other.example")
    declare(
        tmp_path,
        f"""
        [services.mail]
        target = "mail.py"
        listen = ["127.0.0.1:0"]
        [[services.mail.endpoints]]
        listen = ["127.0.0.1:0"]
        [services.mail.endpoints.tls]
        certificate = "{one.certificate}"
        key = "{other.key}"
        """,
        "mail",
    )
    done = run("serve", "--workers", "2")
    assert (done.code, done.text) == (2, "")
    assert f"fourtuple: mail/1: --tls-key: the key in {other.key} does not belong to" in done.err
    assert "worker" not in done.err


def test_the_place_of_the_control_socket_is_checked_before_workers_start(run: Run) -> None:
    done = run("serve", "upper", "--workers", "2", "--port", "0", "--control", "nodir/x.sock")
    assert (done.code, done.text) == (2, "")
    assert done.err == "fourtuple: --control: nodir/x.sock: there is no directory nodir\n"


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
    assert "is an address of the service, too" in done.err


@pytest.mark.parametrize(
    ("one", "other"),
    [("127.0.0.1:9999", "127.0.0.1:9998"), ("127.0.0.1:9999", "[::1]:9999"), ("127.0.0.1:0", "127.0.0.1:0"),
     ("0.0.0.0:9999", "[::1]:9999"), ("127.0.0.1:9999", "unix:x")],
)  # fmt: skip
def test_addresses_that_do_not_collide(one: str, other: str) -> None:
    check_http(Operations(http=one), [Address.parse(other)])
