"""Several services in one process, as `fourtuple.toml` declares them."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from certificates import Files, trusting
from cli.conftest import Run, Serve, Served

#: A service whose replies say which one it is, and whose lifespan leaves lines in a file.
SERVICE = """
from contextlib import asynccontextmanager
from pathlib import Path
from fourtuple import Service

service = Service("line")

@service.lifespan
async def life():
    with open("{name}.life", "a") as file:
        file.write("up ")
    yield
    with open("{name}.life", "a") as file:
        file.write("down ")

@service.reply
def reply(message):
    return b"{name} " + message
"""
QUICK = "[deadlines]\ndrain_timeout = 5\ndrain_idle_timeout = 0.1\n"


def declare(folder: Path, content: str, *services: str) -> None:
    for name in services:
        (folder / f"{name}.py").write_text(SERVICE.format(name=name))
    (folder / "fourtuple.toml").write_text(content)


def port_of(served: Served, place: int) -> int:
    return int(served.addresses[place].rpartition(":")[2])


def connected(served: Served, place: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(served, place)), 20)


def asked(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line + b"\n")
    return sock.makefile("rb").readline().rstrip(b"\n")


TWO = f"""
{QUICK}
[services.mail]
target = "mail.py:service"
listen = ["127.0.0.1:0"]
[services.news]
target = "news.py"
listen = ["127.0.0.1:0"]
"""


def test_each_service_has_its_own_addresses_limits_and_tls(serve_file: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path)
    declare(
        tmp_path,
        f"""
        [limits]
        max_connections_per_address = 9
        [services.mail]
        target = "mail.py:service"
        listen = ["127.0.0.1:0"]
        limits = {{max_connections_per_address = 1}}
        [[services.mail.endpoints]]
        listen = ["127.0.0.1:0"]
        [services.mail.endpoints.tls]
        certificate = "{files.both}"
        [services.news]
        target = "news"
        framing = "netstring"
        listen = ["127.0.0.1:0", "unix:news.sock"]
        """,
        "mail",
        "news",
    )
    served = serve_file(listeners=4)
    with ExitStack() as stack:
        mail = stack.enter_context(connected(served, 0))
        assert asked(mail, b"1") == b"mail 1"
        refused = stack.enter_context(connected(served, 0))
        assert refused.recv(1) == b"", "mail has its limit of one connection"
        for _ in range(3):
            news = stack.enter_context(connected(served, 2))
            news.sendall(b"1:2,")
            assert news.recv(99) == b"6:news 2,"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.connect(str(tmp_path / "news.sock"))
        unix.sendall(b"1:3,")
        assert unix.recv(99) == b"6:news 3,"
        mail.close()
        served.line_with("mail: #1 closed")
        secret = stack.enter_context(trusting().wrap_socket(connected(served, 1), server_hostname="localhost"))
        assert asked(secret, b"4") == b"mail 4"
    served.line_with("news: #")
    done = served.stop()
    assert done.code == 0, done.err
    assert "mail: Stopped, 0 connections aborted" in done.text
    assert "news: Stopped, 0 connections aborted" in done.text
    assert (tmp_path / "mail.life").read_text() == "up down "


def test_the_first_signal_drains_all_and_the_second_aborts_all(serve_file: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    served = serve_file(listeners=2)
    with connected(served, 0) as one, connected(served, 1) as two:
        for sock, name in ((one, b"mail"), (two, b"news")):
            sock.sendall(b"1\nhalf")  # one read takes both: the reply shows that the half message has come, too
            assert sock.recv(99) == name + b" 1\n"
        served.process.send_signal(signal.SIGTERM)
        served.line_with("mail: Draining 1 connection")
        served.line_with("news: Draining 1 connection")
        one.sendall(b"!\n")
        assert one.makefile("rb").read() == b"mail half!\n", "the message that had begun is answered"
        served.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            two.recv(1)
    assert served.wait().code == 1


def test_all_drain_if_one_service_cannot_listen_any_more(serve_file: Serve, tmp_path: Path) -> None:
    """The process that is left would look as if it served: its manager could not tell."""
    declare(
        tmp_path,
        TWO.replace("news.py", "ends.py"),
        "mail",
    )
    (tmp_path / "ends.py").write_text(
        SERVICE.format(name="ends").replace("def reply(message):", "def reply(message, connection):")
        + "    import asyncio\n".replace("    import", "import")
        + "\n@service.opened\ndef opened(connection):\n    asyncio.ensure_future(connection.server.drain())\n"
    )
    served = serve_file(listeners=2)
    with connected(served, 1):
        pass
    done = served.wait()
    assert done.code == 0
    assert "mail: Stopped" in done.text
    assert (tmp_path / "mail.life").read_text() == "up down "


@pytest.mark.parametrize("flags", [[], ["--workers", "2"]])
def test_one_that_cannot_listen_ends_the_start(run: Run, tmp_path: Path, flags: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        declare(
            tmp_path,
            TWO.replace('news.py"\nlisten = ["127.0.0.1:0"]', f'news.py"\nlisten = ["127.0.0.1:{port}"]'),
            "mail",
            "news",
        )
        done = run("serve", *flags)
    assert done.code == 3
    assert f"news: cannot listen at 127.0.0.1:{port}: address already in use" in done.err
    assert "Listening" not in done.text
    assert not (tmp_path / "mail.life").exists(), "the sockets come first"


def test_one_whose_set_up_fails_ends_the_start(run: Run, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    (tmp_path / "news.py").write_text(SERVICE.format(name="news").replace("    yield\n", "    1 / 0\n    yield\n"))
    done = run("serve")
    assert done.code == 3
    assert "fourtuple: news: the service's set-up failed" in done.err
    assert "ZeroDivisionError" in done.err
    assert (tmp_path / "mail.life").read_text() == "up down ", "what was set up is torn down"


def test_a_signal_before_all_are_set_up_tears_down_those_that_are(serve_file: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    waiting = '    import asyncio\n    print("waits", flush=True)\n    await asyncio.Event().wait()\n    yield\n'
    (tmp_path / "news.py").write_text(SERVICE.format(name="news").replace("    yield\n", waiting))
    served = serve_file(listeners=0)
    served.line_with("waits")
    done = served.stop()
    assert done.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM before it listened" in done.err
    assert (tmp_path / "mail.life").read_text() == "up down "


def test_a_call_that_holds_the_loop_is_of_no_single_service(serve_file: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "news.py").write_text(
        SERVICE.format(name="news").replace("    return b", "    open('fifo').close()\n    return b")
    )
    served = serve_file("--stall-timeout", "0.2", listeners=2)
    with connected(served, 1) as sock:
        sock.sendall(b"x\n")
        told = next(line for line in served.process.stderr if "the loop" in line)
        (tmp_path / "fifo").write_text("")
        assert told.startswith("handler news.reply has held the loop for ")
        assert sock.makefile("rb").readline() == b"news x\n"
    assert "\nnews: #1" in served.stop().err, "afterwards it is known whose it was"


def test_only_some_services(serve_file: Serve, run: Run, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    served = serve_file("--only", "news")
    with connected(served, 0) as sock:
        assert asked(sock, b"x") == b"news x"
    assert "mail" not in served.stop().text
    done = run("serve", "--only", "new")
    assert done.code == 2
    assert "--only new: the file has no such service; did you mean news?" in done.err


def test_check_and_serve_agree_on_what_is_served(run: Run, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail")  # news.py is not there
    assert run("check").code == 2
    done = run("check", "--only", "mail", "--files")
    assert (done.code, done.err) == (0, "")
    assert "[services.mail]" in done.text
    assert "news" not in done.text
    assert json.loads(run("check", "--only", "mail", "--json").text)["services"].keys() == {"mail"}
    for arguments, told in (
        (["--only", "new"], "--only new: the file has no such service; did you mean news?"),
        (["--only", "mail", "--no-config"], "--only is for the services of fourtuple.toml, and no service is declared"),
        (["echo", "--only", "mail"], "--only is for the services of fourtuple.toml, not for TARGET or --exec."),
        (["echo", "--exec", "cat"], "Give either a TARGET or --exec CMD."),
        (["--exec", "no-such-program"], "--exec: there is no program 'no-such-program' that may be run"),
    ):
        for command in ("check", "serve"):
            done = run(command, *arguments)
            assert (done.code, told in " ".join(done.err.split())) == (2, True), (command, done.err)
    assert run("check", "--exec", "cat", "--files").code == 0


def test_sighup_reads_all_certificates_again(serve_file: Serve, tmp_path: Path) -> None:
    one, two = Files(tmp_path), Files(tmp_path, "127.0.0.1")
    tls = '[services.{}.tls]\ncertificate = "{}"\n'
    declare(tmp_path, TWO + tls.format("mail", one.both) + tls.format("news", two.both), "mail", "news")
    served = serve_file(listeners=2)
    served.process.send_signal(signal.SIGHUP)
    assert {served.line_with("again").split(":")[0] for _ in range(2)} == {"mail", "news"}
    for place, name in ((0, "localhost"), (1, "127.0.0.1")):
        with trusting().wrap_socket(connected(served, place), server_hostname=name) as sock:
            assert asked(sock, b"x").endswith(b" x")


def test_sighup_without_tls_drains_all(serve_file: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    served = serve_file(listeners=2)
    done = served.stop(signal.SIGHUP)
    assert done.code == 0
    assert "mail: Stopped" in done.text
    assert "news: Stopped" in done.text


def test_lines_of_json_name_the_service(serve_file: Serve, run: Run, tmp_path: Path) -> None:
    declare(tmp_path, TWO, "mail", "news")
    served = serve_file("--log-format", "json", listeners=0)
    first, second = (json.loads(served.line()) for _ in range(2))
    assert [first["service"], second["service"]] == ["mail", "news"]
    served.addresses = [first["address"], second["address"]]
    with connected(served, 1) as sock:
        asked(sock, b"x")
    told = [json.loads(line) for line in served.stop().text.splitlines()]
    assert [each["service"] for each in told if each["event"] == "closed"] == ["news"]
    assert {each["service"] for each in told if each["event"] == "drained"} == {"mail", "news"}


def test_what_operates_a_server_shows_each_service(serve_file: Serve, run: Run, tmp_path: Path) -> None:
    control = str(tmp_path / "control.sock")
    declare(tmp_path, TWO, "mail", "news")
    served = serve_file("--control", control, listeners=0)
    served.line_with("Control socket")
    with ExitStack() as stack:
        for line in (served.line(), served.line()):
            served.addresses.append(line.split()[3])
        news = stack.enter_context(connected(served, 1))
        asked(news, b"x")
        status = json.loads(run("status", "--json", "--control", control).out)
        assert [(each["name"], each["connections"]) for each in status["services"]] == [("mail", 0), ("news", 1)]
        assert {each["address"]: each["service"] for each in status["listeners"]} == dict(
            zip(served.addresses, ("mail", "news"), strict=True)
        )
        (open_,) = json.loads(run("connections", "--json", "--control", control).out)
        assert open_["service"] == "news"
        done = run("limits", "set", "--control", control, "--service", "mail", "max_connections_per_address=1")
        assert (done.code, done.text) == (0, "max_connections_per_address = 1\n")
        done = run("limits", "set", "--control", control, "--service", "mial", "max_connections_per_address=1")
        assert done.code == 1
        assert "service mial: the server has no such service; did you mean mail?" in done.err
        mail, other = json.loads(run("limits", "show", "--json", "--control", control).out)
        assert [(each["service"], each["addresses"]) for each in (mail, other)] == [
            ("mail", [served.addresses[0]]),
            ("news", [served.addresses[1]]),
        ]
        assert mail["limits"]["max_connections_per_address"]["value"] == 1
        assert other["limits"]["max_connections_per_address"]["value"] is None
        shown = run("limits", "show", "--service", "news", "--control", control).text
        assert shown.startswith(f"# news at {served.addresses[1]}\nmax_connections = ")
        stack.enter_context(connected(served, 0))
        assert stack.enter_context(connected(served, 0)).recv(1) == b""
        assert asked(stack.enter_context(connected(served, 1)), b"y") == b"news y"
        assert run("close", open_["id"], "--control", control).code == 0
        assert news.recv(1) == b""
        assert run("drain", "--control", control).code == 0
    assert served.wait().code == 0


def test_flags_and_variables_hold_for_all_services(serve_file: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO + "[services.mail.limits]\nmax_connections_per_address = 9\n", "mail", "news")
    served = serve_file("--max-connections-per-address", "1", listeners=2)
    for place in (0, 1):
        with connected(served, place) as first, connected(served, place) as second:
            asked(first, b"x")
            assert second.recv(1) == b""


def test_more_connections_than_descriptors_are_reported(serve_file: Serve, tmp_path: Path) -> None:
    for limits, told in (("", False), ("[limits]\nmax_connections = 1_000_000_000\n", True)):
        declare(tmp_path, TWO + limits, "mail", "news")
        done = serve_file(listeners=2).stop()
        assert ("max_connections: all services together allow" in done.err) is told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--bind", "127.0.0.1:0"], "--bind is for one TARGET"),
        (["--port", "0"], "--host or --port is for one TARGET"),
        (["--framing", "line"], "--framing is for one TARGET"),
        (["echo", "--only", "mail"], "--only is for the services of fourtuple.toml"),
        (["echo", "--exec", "cat"], "Give either a TARGET or --exec CMD."),
    ],
)
def test_flags_that_do_not_fit(run: Run, tmp_path: Path, flags: list[str], told: str) -> None:
    declare(tmp_path, TWO, "mail", "news")
    done = run("serve", *flags)
    assert done.code == 2
    assert told in done.err


def test_a_target_is_served_alone_though_the_file_declares_services(serve: Serve, tmp_path: Path) -> None:
    declare(tmp_path, TWO + "[limits]\nmax_connections_per_address = 1\n", "mail", "news")
    served = serve("echo", "--framing", "line")
    with served.connect() as first, served.connect() as second:
        assert asked(first, b"x") == b"x"
        assert second.recv(1) == b"", "the options of the whole file hold"


def test_a_file_without_services(run: Run, tmp_path: Path) -> None:
    for content in ("", "[services]\n"):
        (tmp_path / "fourtuple.toml").write_text(content)
        done = run("serve")
        assert done.code == 2
        assert "Give either a TARGET or --exec CMD, or declare services in fourtuple.toml" in done.err


AT = 'listen = ["127.0.0.1:2525"]\n'
TARGET = 'target = "mail.py"\n'
END = "[services.mail.endpoints"

#: What [services.mail] has, and what is told of it.
NONSENSE = [
    (TARGET, "[services.mail]: listen is missing, as in listen = "),
    (AT, "[services.mail]: a target or an exec is needed, none is given, as in target = "),
    (f"{TARGET}exec = 'cat'\n{AT}", "[services.mail]: a target or an exec is needed, both are given"),
    (f"{TARGET}{AT}listem = 3", "[services.mail] listem: there is no such key; did you mean listen?"),
    (f"{TARGET}{AT}zzz = 3", "[services.mail] zzz: there is no such key; there are target, exec, framing, listen"),
    (f"{TARGET}{AT}backlog = 3", "backlog: there is no such key here; it belongs in [services.mail.sockets]"),
    (f"{TARGET}{AT}workers = 3", "[services.mail] workers: there is no such key here; it belongs in [processes]"),
    (f"{TARGET}{AT}processes = {{}}", "no table that can stand here; it is one of the whole program, [processes]"),
    (f"{TARGET}{AT}limit = {{}}", "[services.mail] limit: there is no such key; did you mean limits?"),
    (f"{TARGET}{AT}limits = 3", "[services.mail.limits]: expected a table, got 3"),
    (f"{TARGET}{AT}tls = true", "[services.mail.tls]: expected a table, or false for no TLS, got True"),
    (
        f"{TARGET}{AT}limits.max_conections = 3",
        "[services.mail.limits] max_conections: there is no such option; did you mean max_connections?",
    ),
    (f"{TARGET}{AT}limits.max_batch = 0", "[services.mail.limits] max_batch: expected at least 1, got 0 messages"),
    (
        f"{TARGET}listen = []",
        '[services.mail] listen: expected a list of addresses, as in ["127.0.0.1:9999"], got [] (list)',
    ),
    (
        f"{TARGET}listen = [25]",
        '[services.mail] listen: expected a list of addresses, as in ["127.0.0.1:9999"], got [25] (list)',
    ),
    (f"{TARGET}listen = ['localhost']", "[services.mail] listen: "),
    (f"{TARGET}listen = ['127.0.0.1:65536']", "port 65536 is larger than 65535"),
    (f"target = 3\n{AT}", "[services.mail] target: expected a text, got 3"),
    (f"exec = ''\n{AT}", "[services.mail] exec: expected a text, got ''"),
    (f"exec = 'cat'\nframing = 'line'\n{AT}", "[services.mail] framing: it does not work with exec"),
    (f"{TARGET}{AT}framing = 'lin'", "[services.mail] framing: "),
    (f"{TARGET}{AT}framing = 'no.py'", "[services.mail] framing: there is no file no.py"),
    (f"target = 'no.py'\n{AT}", "[services.mail] target: there is no file no.py"),
    (
        f"target = 'ecko'\n{AT}",
        "[services.mail] target: there is no built-in service and no module 'ecko'; did you mean echo?",
    ),
    (f"target = 'broken.py'\n{AT}", "[services.mail] target: the import of broken.py failed"),
    (f"target = 'mail.py:x'\n{AT}", "[services.mail] target: mail.py has no 'x'; its services: service"),
    (f"exec = 'no-such-program'\n{AT}", "[services.mail] exec: --exec: there is no program 'no-such-program'"),
    (f"{TARGET}listen = ['127.0.0.1:25', '25']", "listen: 127.0.0.1:25 is an address of [services.mail] already"),
    (
        f"{TARGET}listen = ['127.0.0.1:25', '*:25']",
        "[services.mail] listen: *:25 cannot be bound beside 127.0.0.1:25, an address of [services.mail]",
    ),
    (f"{TARGET}listen = ['*:25', '[::1]:25']", "listen: [::1]:25 cannot be bound beside *:25, "),
    (f"{TARGET}listen = ['0.0.0.0:25', '127.0.0.1:25']", "127.0.0.1:25 cannot be bound beside 0.0.0.0:25, "),
    (f"{TARGET}listen = ['[::1]:25', '[::]:25']", "[::]:25 cannot be bound beside [::1]:25, "),
    (
        f"{TARGET}listen = ['*:25']\n[services.news]\n{TARGET}listen = ['localhost:25']",
        "[services.news] listen: localhost:25 cannot be bound beside *:25, an address of [services.mail]",
    ),
    (f"{TARGET}{AT}endpoints = 3", "endpoints: expected tables, [[services.mail.endpoints]], got 3"),
    (f"{TARGET}{AT}{END}]\n{AT}", "expected tables, [[services.mail.endpoints]], got "),
    (f"{TARGET}{AT}[{END}]]", "[[services.mail.endpoints]] number 1: listen is missing"),
    (
        f"{TARGET}{AT}[{END}]]\n{AT}",
        "number 1, listen: 127.0.0.1:2525 is an address of [services.mail] already",
    ),
    (
        f"{TARGET}[{END}]]\n{AT}deadlines = {{}}",
        "number 1 deadlines: no table that can stand here; it is one of the whole service, [services.mail.deadlines]",
    ),
    (
        f"{TARGET}[{END}]]\n{AT}limits.max_threads = 3",
        "number 1, limits.max_threads: it is a limit of the whole service; it belongs in [services.mail.limits]",
    ),
    (
        f"{TARGET}[{END}]]\n{AT}limits.max_batch = 0",
        "[[services.mail.endpoints]] number 1, limits.max_batch: expected at least 1, got 0 messages",
    ),
    (
        f"{TARGET}{AT}[services.news]\n{TARGET}{AT}",
        "[services.news] listen: 127.0.0.1:2525 is an address of [services.mail] already",
    ),
    (f"{TARGET}{AT}[services.'a b']\n{TARGET}", "[services.a b]: the name of a service has 1 to 32 letters, digits"),
    (f"{TARGET}{AT}[service.news]\n", "there is no table [service]; did you mean services?"),
]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        *((f"[services.mail]\n{content}", told) for content, told in NONSENSE),
        ("[services]\ntarget = 'x'\n", "[services] target: it belongs to one service, in [services.NAME]"),
        ("[services]\nmail = 3\n", "[services] mail: expected a table, [services.NAME], got 3"),
        ("services = 3\n", "services: expected a table, [services.NAME], got 3"),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_file_that_means_nothing(run: Run, tmp_path: Path, command: str, content: str, told: str) -> None:
    declare(tmp_path, content, "mail")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    done = run(command)
    assert done.code == 2, done
    assert told in done.err
    assert done.err.startswith("fourtuple: fourtuple.toml: ")
    assert done.out == b""


@pytest.mark.parametrize(
    "content",
    [
        "listen = ['0.0.0.0:25', '[::]:25']",  # [::] is IPv6 only
        "listen = ['0.0.0.0:25', '[::1]:25', '*:26', '*:0', '127.0.0.1:0']",
        "listen = ['*:25', '/tmp/mail.sock']",
        "listen = ['*:25']\nsockets.interface = 'eth0'\n[services.news]\n"
        "target = 'mail.py'\nlisten = ['127.0.0.1:25']\nsockets.interface = 'lo'",
        "listen = '127.0.0.1:25'\nlimits.max_connections = '5'",  # as a flag takes it
    ],
)
def test_addresses_that_can_all_be_bound(run: Run, tmp_path: Path, content: str) -> None:
    declare(tmp_path, f"[services.mail]\ntarget = 'mail.py'\n{content}\n", "mail")
    done = run("check")
    assert (done.code, done.err) == (0, ""), done


def test_what_check_tells_of_each_service(run: Run, tmp_path: Path) -> None:
    declare(
        tmp_path,
        "[limits]\nmax_batch = 3\nmax_connections_per_address = 10\n"
        "[tls]\ncertificate = 'all.pem'\nkey = 'all.key'\n"
        '[services.mail]\ntarget = "mail.py"\nlisten = "127.0.0.1:2525"\n'
        "[services.mail.limits]\nmax_batch = 4\n"
        "[[services.mail.endpoints]]\nlisten = ['127.0.0.1:4650']\ntls = false\n"
        "limits.max_connections_per_address = 2\n"
        '[services.news]\ntarget = "mail.py"\nlisten = ["127.0.0.1:1190"]\n'
        "[services.news.tls]\ncertificate = 'news.pem'\n",
        "mail",
    )
    done = run("check", "--workers", "2", "--max-message-rate", "7")
    assert (done.code, done.err) == (0, "")
    _, _, services = done.text.partition("\n[services.mail]\n")
    assert services == (
        'target = "mail.py"  # fourtuple.toml, line 8\n'
        'listen = ["127.0.0.1:2525"]  # fourtuple.toml, line 9\n'
        "\n[services.mail.limits]\n"
        "max_connections_per_address = 10  # fourtuple.toml, line 3, 20 in 2 workers\n"
        "max_message_rate = 7  # --max-message-rate\n"
        "max_batch = 4  # fourtuple.toml, line 11\n"
        "\n[services.mail.tls]\n"
        'certificate = "all.pem"  # fourtuple.toml, line 5\n'
        'key = "all.key"  # fourtuple.toml, line 6\n'
        "\n[[services.mail.endpoints]]\n"
        'listen = ["127.0.0.1:4650"]  # fourtuple.toml, line 13\n'
        "tls = false  # fourtuple.toml, line 14\n"
        "\n[services.mail.endpoints.limits]\n"
        "max_connections_per_address = 2  # fourtuple.toml, 4 in 2 workers\n"
        "max_message_rate = 7  # --max-message-rate\n"
        "max_batch = 4  # fourtuple.toml, line 11\n"
        "\n[services.news]\n"
        'target = "mail.py"  # fourtuple.toml, line 17\n'
        'listen = ["127.0.0.1:1190"]  # fourtuple.toml, line 18\n'
        "\n[services.news.limits]\n"
        "max_connections_per_address = 10  # fourtuple.toml, line 3, 20 in 2 workers\n"
        "max_message_rate = 7  # --max-message-rate\n"
        "max_batch = 3  # fourtuple.toml, line 2\n"
        "\n[services.news.tls]\n"
        'certificate = "news.pem"  # fourtuple.toml, line 20\n'
    ), "a certificate comes without the key of another one"
    told = json.loads(run("check", "--json", FOURTUPLE_MAX_BATCH="5").out)["services"]
    assert told["mail"]["target"]["value"] == "mail.py"
    assert told["news"]["options"]["limits"]["max_batch"] == {
        "value": 5, "source": "environment", "where": "FOURTUPLE_MAX_BATCH", "line": None,
    }  # fmt: skip
    assert told["mail"]["endpoints"][0]["tls"]["value"] is False
    file = tmp_path / "again.toml"
    file.write_text(run("check", "--all").text)
    again = run("check", "--all", "--config", str(file))
    assert again.code == 0, again.err
    without_places = [
        [line.partition("  # ")[0] for line in text.splitlines()[1:]] for text in (file.read_text(), again.text)
    ]
    assert without_places[0] == without_places[1], "what it prints is a file that means the same"
