"""The container file and the manifest of the repository: a linter has nothing to say, and they fit the program."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from fourtuple import Deadlines
from fourtuple.cli.main import cli

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "Containerfile"


@pytest.mark.peers
def test_a_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{sys.prefix}/bin{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        reason = "hadolint is not installed (pip install --group peers)"
        pytest.fail(reason) if os.environ.get("FOURTUPLE_PEERS") == "require" else pytest.skip(reason)
    done = subprocess.run([hadolint, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_is_in_the_repository() -> None:
    copied = [shlex.split(line)[1:-1] for line in FILE.read_text().splitlines() if re.match(r"COPY (?!--from)", line)]
    names = [name for names in copied for name in names]
    assert "src" in names
    assert [name for name in names if not (ROOT / name).exists()] == []
    # What the build of the package reads is there, too.
    assert {"pyproject.toml", "setup.py"} <= set(names)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not outlive the test: it gets systems and images of 600 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.timeout(1800)  # debootstrap waits for the disk
def test_an_image_is_built_from_the_repository_and_serves(folder: Path) -> None:
    """With buildah, which needs no daemon; its base image is a Debian with Python, made here by debootstrap."""
    buildah, debootstrap = map(shutil.which, ("buildah", "debootstrap"))
    if buildah is None or debootstrap is None or os.geteuid() != 0:
        pytest.skip("needs root, buildah and debootstrap: apt-get install --no-install-recommends buildah debootstrap")
    # In a mount namespace of their own: what they mount vanishes with each command.
    alone = ["unshare", "--mount", "--propagation", "private"]
    base, packages = folder / "base", "python3,python3-venv,ca-certificates"
    made = subprocess.run(
        [*alone, debootstrap, "--variant=minbase", f"--include={packages}", "bookworm", str(base)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"debootstrap cannot make a system here: {made.stdout.strip().splitlines()[-1:]}")
    as_here(base)
    places = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
    stored = [*alone, buildah, "--storage-driver", "vfs", *places]
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}

    def run(*words: str) -> str:
        done = subprocess.run([*stored, *words], capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    empty = run("from", "scratch")
    run("add", "--quiet", empty, str(base), "/")
    run("commit", "--quiet", empty, "localhost/base")
    run("build", "--pull-never", "--build-arg", "BASE=localhost/base", "-f", str(FILE), "-t", "app", ".")
    image = json.loads(run("inspect", "--type", "image", "app"))["OCIv1"]["config"]
    container = run("from", "--pull-never", "localhost/app")
    assert "C for: splitting, turn, signals" in run("run", container, "fourtuple", "--version")
    # The command of the image, as its user, until its standard input ends.
    command = [{"*:9999": "127.0.0.1:0", "0.0.0.0:9101": "127.0.0.1:0"}.get(word, word) for word in image["Cmd"]]
    until = ["sh", "-c", '"$@" & read -r _; kill $!; wait $!', "sh", *command]
    with subprocess.Popen(
        [*stored, "run", container, "--", *until],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("Listening at"))
            assert talk(line.split()[2], b"hello\n") == b"hello\n"
        finally:
            process.stdin.close()
        process.stdout.read()
    assert process.returncode == 0


def as_here(base: Path) -> None:
    """Give a system this machine's network: its names, its certificates, its way to packages."""
    for name in ("hosts", "resolv.conf", "ssl/certs/ca-certificates.crt", "pip.conf"):
        here = Path("/etc") / name
        if here.exists():
            shutil.copy(here, base / "etc" / name)


def talk(address: str, message: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as sock:
        sock.sendall(message)
        return sock.makefile("rb").readline()


def test_its_command_is_one_of_ours() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", FILE.read_text(), re.MULTILINE)
    program, name, target, *flags = json.loads(command)
    assert (program, name) == ("fourtuple", "serve")
    copied = re.findall(r"^COPY (\S+) (\S+)$", FILE.read_text(), re.MULTILINE)
    assert target in [to for _, to in copied]
    assert {flag for flag in flags if flag.startswith("--")} <= flags_of_serve()


def flags_of_serve() -> set[str]:
    serve = cli.get_command(click.Context(cli), "serve")
    assert serve is not None
    return {option for parameter in serve.params for option in parameter.opts}


@pytest.mark.peers
def test_the_manifest_fits_the_program(require_package: Callable[[str], Any]) -> None:
    yaml = require_package("yaml")
    deployment, service = yaml.safe_load_all((ROOT / "examples" / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"] == service["spec"]["selector"]
    (container,) = pod["spec"]["containers"]
    program, name, _, *flags = container["args"]
    assert (program, name) == ("fourtuple", "serve")
    options = dict(flag.split("=", 1) for flag in flags)
    assert options.keys() <= flags_of_serve()
    # The ports are those at which it listens; the probes ask the pages there.
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    listening = {"app": options["--bind"], "http": options["--http"]}
    assert ports == {name: int(address.rpartition(":")[2]) for name, address in listening.items()}
    assert [each["targetPort"] for each in service["spec"]["ports"]] == ["app"]
    pages = {"readinessProbe": "/ready", "livenessProbe": "/live"}
    for probe, path in pages.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert container[probe]["timeoutSeconds"] >= 1
    # The time before SIGKILL is enough, for the defaults, too. No liveness probe ends a pod within its drain.
    _, sleep = container["lifecycle"]["preStop"]["exec"]["command"]
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    drain = float(options["--drain-timeout"])
    assert float(sleep) + drain < grace
    assert Deadlines().drain_timeout is not None
    assert Deadlines().drain_timeout <= drain
    assert container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"] > drain
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
