"""`fourtuple check`: what is in force, where it comes from, and errors without serving."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certificates import Files
from cli.conftest import Run
from fourtuple.config import read_file


def test_each_option_is_reported_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text("# ours\n[limits]\nread_size = '4k'\nhigh_water = 70000\nmax_batch = 9\n")
    done = run("check", "--max-batch", "7", FOURTUPLE_IDLE_TIMEOUT="2.5", FOURTUPLE_WRITE_TIMEOUT="none")
    assert (done.code, done.err) == (0, "")
    assert done.text == (
        "# File: fourtuple.toml\n\n[limits]\n"
        "read_size = 4096  # fourtuple.toml, line 3\n"
        "max_batch = 7  # --max-batch\n"
        "high_water = 70000  # fourtuple.toml, line 4\n"
        "\n[deadlines]\n"
        "idle_timeout = 2.5  # FOURTUPLE_IDLE_TIMEOUT\n"
        'write_timeout = "none"  # FOURTUPLE_WRITE_TIMEOUT\n'
    )


def test_what_it_prints_with_all_is_a_file_that_means_the_same(run: Run, tmp_path: Path) -> None:
    first = run("check", "--all", "--max-batch", "7", "--deny", "10.0.0.0/8")
    assert first.code == 0
    assert "backlog = 4096  # default\n" in first.text
    file = tmp_path / "again.toml"
    file.write_text(first.text)
    second = run("check", "--all", "--config", str(file))
    assert second.code == 0, second.err
    settings = [[line.partition("  # ")[0] for line in done.text.splitlines()[1:]] for done in (first, second)]
    assert settings[0] == settings[1]


def test_json_has_all_options_and_no_secret(run: Run, tmp_path: Path) -> None:
    done = run("check", "--json", "--tls-certificate", "a.pem", FOURTUPLE_TLS_KEY_PASSWORD="secret")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["file"] is None
    assert told["options"]["tls"]["certificate"] == {
        "value": "a.pem", "source": "flag", "where": "--tls-certificate", "line": None,
    }  # fmt: skip
    assert told["options"]["tls"]["key_password"]["value"] == "***"
    assert told["options"]["sockets"]["backlog"] == {"value": 4096, "source": "default", "where": None, "line": None}
    assert b"secret" not in done.out


def test_what_all_workers_allow_together(run: Run) -> None:
    flags = ["--workers", "4", "--max-connections-per-address", "10", "--max-connections", "100"]
    done = run("check", *flags)
    assert "max_connections_per_address = 10  # --max-connections-per-address, 40 in 4 workers\n" in done.text
    assert "max_connections = 100  # --max-connections, 25 in each of 4 workers\n" in done.text
    assert json.loads(run("check", "--json", *flags).out)["options"]["limits"]["max_connections_per_address"][
        "all_workers"
    ] == 40  # fmt: skip
    assert " workers" not in run("check", *flags[2:]).text


def test_what_each_worker_has_of_a_limit_of_the_whole_server(run: Run) -> None:
    flags = ["--workers", "4", "--max-connections", "10", "--max-threads", "2", "--accept-rate", "50"]
    text = run("check", *flags).text
    assert "max_connections = 10  # --max-connections, 3 or 2 in each of 4 workers\n" in text
    assert "max_threads = 2  # --max-threads, 1 in each of 4 workers, 4 in all\n" in text
    assert "accept_rate = 50  # --accept-rate, 12.5 in each of 4 workers\n" in text
    limits = json.loads(run("check", "--json", *flags).out)["options"]["limits"]
    assert (limits["max_connections"]["each_worker"], limits["max_connections"]["all_workers"]) == ([3, 3, 2, 2], 10)
    assert limits["accept_rate"]["each_worker"] == [12.5] * 4
    # Also one that is not set: of the number that descriptors allow by default.
    assert limits["max_connections_per_address"].keys() & {"each_worker"} == set()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[limits]\nmax_conections = 5\n", "did you mean max_connections?"),
        ("[limit]\n", "there is no table [limit]; did you mean limits?"),
        ("[limits]\nmax_batch = 0\n", "[limits] max_batch: expected at least 1, got 0 messages"),
        ("[limits]\nread_size = 'big'\n", "cannot read 'big' as a whole number of octets"),
        ("[limits\n", "not TOML"),
        (
            "[operations]\nhttp = '70000'\n",
            "[operations] http: cannot read address '70000': port 70000 is larger",
        ),
        (
            "[operations]\nhttp = '9101'\n[services.a]\ntarget = 'echo'\nframing = 'line'\nlisten = ['*:9101']\n",
            "[operations] http: 127.0.0.1:9101 is also an address of the service",
        ),
    ],
)
def test_errors_name_the_key_the_value_and_what_is_needed(run: Run, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "fourtuple.toml").write_text(content)
    done = run("check")
    assert done.code == 2
    assert done.out == b""
    assert told in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[limits]\n\n  max_batch=5\n", 3),
        ("[limits] # ours\r\nmax_batch = 5\r\n", 2),
        ("limits.max_batch = 5\n", None),
        ("[limits]\n'max_batch' = 5\n", None),
        ("limits = {max_batch = 5}\n", None),
        ('[tls]\nsni = """\n[limits]\nmax_batch = 1\n"""\n[limits]\nmax_batch = 5\n', None),
    ],
)
def test_the_line_of_a_key(tmp_path: Path, content: str, line: int | None) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content.encode())
    setting = read_file(file)["max_batch"]
    assert (setting.value, setting.line, setting.source) == (5, line, "file")


def test_a_file_that_is_not_there(run: Run) -> None:
    done = run("check", "--config", "nowhere.toml")
    assert done.code == 2
    assert "nowhere.toml: No such file or directory" in done.err


VALUES = """
from fourtuple import Service
from fourtuple.framing import Line, mapped

service = Service(mapped(Line(), lambda octets: octets.upper(), lambda value: value.octets))

@service.reply
def reply(value):
    return value
"""
WHY = (
    "a refusal is octets, and line+mapped sends values; leave it out: refused connections are then closed without a "
    "message\n"
)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_refusal_that_a_framing_of_values_cannot_send(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "meter.py").write_text(VALUES)
    bind = ("--bind", "127.0.0.1:0") if command == "serve" else ()
    done = run(command, "meter.py", "--refusal", "full", *bind)
    assert (done.code, done.out, done.err) == (2, b"", f"fourtuple: --refusal: {WHY}")
    done = run(command, "meter.py", *bind, FOURTUPLE_REFUSAL="full")
    assert (done.code, done.err) == (2, f"fourtuple: FOURTUPLE_REFUSAL: {WHY}")
    file = tmp_path / "fourtuple.toml"
    file.write_text("[limits]\nrefusal = 'full'\n")
    done = run(command, "meter.py", *bind)
    assert (done.code, done.err) == (2, f"fourtuple: fourtuple.toml: [limits] refusal: {WHY}")
    service = "[services.meter]\ntarget = 'meter.py'\nlisten = ['127.0.0.1:0']\n"
    file.write_text(f"{service}[services.meter.limits]\nrefusal = 'full'\n")
    done = run(command)
    assert (done.code, done.err) == (2, f"fourtuple: fourtuple.toml: [services.meter.limits] refusal: {WHY}")
    file.write_text(
        f"{service}[[services.meter.endpoints]]\nlisten = ['127.0.0.1:0']\n"
        "[services.meter.endpoints.limits]\nrefusal = 'full'\n"
    )
    done = run(command)
    where = "[[services.meter.endpoints]] number 1, limits.refusal"
    assert (done.code, done.err) == (2, f"fourtuple: fourtuple.toml: {where}: {WHY}")


def test_check_takes_a_target_as_serve_does(run: Run, tmp_path: Path) -> None:
    (tmp_path / "meter.py").write_text(VALUES)
    (tmp_path / "fourtuple.toml").write_text("[services.other]\ntarget = 'nope.py'\nlisten = ['127.0.0.1:0']\n")
    done = run("check", "meter.py", "--max-batch", "7")
    assert (done.code, done.err) == (0, "")
    assert done.text == "# File: fourtuple.toml\n\n[limits]\nmax_batch = 7  # --max-batch\n"
    done = run("check", "absent.py")
    assert done.code == 2
    assert "absent.py" in done.err


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])
@pytest.mark.parametrize(
    "flags",
    [
        ("--tls-certificate", "absent.pem"),
        ("--tls-certificate", "a.crt", "--tls-key", "b.key"),
        ("--user", "nobody-of-that-name"),
        ("--group", "no-group-of-that-name"),
        ("--control", "absent/x.sock"),
        ("--pidfile", "absent/x.pid"),
        ("--pidfile", "a.crt/x.pid"),
        ("--pidfile", "."),
    ],
    ids=" ".join,
)
def test_with_files_it_ends_on_what_serve_would_end_on(
    run: Run, tmp_path: Path, flags: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    for name in "ab":
        files = Files(tmp_path, name)
        (tmp_path / f"{name}.crt").write_bytes(Path(files.certificate).read_bytes())
        (tmp_path / f"{name}.key").write_bytes(Path(files.key).read_bytes())
    before = set(tmp_path.iterdir())
    checked = run("check", "echo", "--files", *flags, *workers)
    assert checked.code != 0
    served = run("serve", "echo", "--port", "0", *flags, *workers)
    assert (checked.code, checked.err) == (served.code, served.err)
    assert set(tmp_path.iterdir()) == before
    assert run("check", "echo", *flags, *workers).code == 0


def test_with_files_the_place_in_the_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[tls]\ncertificate = "nosuch.pem"\n')
    for arguments in (("check", "--files"), ("serve", "echo", "--port", "0"), ("serve", "echo", "--workers", "2")):
        done = run(*arguments, "--config", "bad.toml")
        assert done.code == 2
        assert done.err.startswith("fourtuple: bad.toml: [tls] certificate: cannot read nosuch.pem: ")


def test_the_framing_of_the_target_is_a_flag_of_check_too(run: Run) -> None:
    assert run("check", "echo", "--framing", "u32").code == 0
    assert "--framing is for one TARGET" in run("check", "--framing", "u32").err


def test_a_number_is_no_misspelt_other_one(run: Run) -> None:
    done = run("check", "--tls-minimum", "1.1")
    assert done.err == "fourtuple: --tls-minimum: expected one of 1.2, 1.3, got '1.1'\n"


def test_with_files_the_endpoint_is_named_and_what_is_right_passes(run: Run, tmp_path: Path) -> None:
    files = Files(tmp_path)
    content = "[services.mail]\ntarget = 'echo'\nlisten = ['127.0.0.1:0']\n[[services.mail.endpoints]]\n"
    content += "listen = ['127.0.0.1:0']\n[services.mail.endpoints.tls]\ncertificate = '{}'\n"
    file = tmp_path / "fourtuple.toml"
    file.write_text(content.format("absent.pem"))
    done = run("check", "--files")
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("fourtuple: mail/1: fourtuple.toml: ")
    assert "certificate: cannot read absent.pem" in done.err
    file.write_text(content.format(files.both))
    (tmp_path / "pid").write_text("1\n")
    done = run("check", "--files", "--pidfile", "pid", "--control", "c.sock")
    assert (done.code, done.err) == (0, "")
    assert not (tmp_path / "c.sock").exists()
    file.write_text("[tls]\ncertificate = 'absent.pem'\n")
    assert run("check", "--files").code == 2, "a file without services is for a target"
