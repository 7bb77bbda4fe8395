"""Compiles the C programs of the benchmarks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("floors/echo.c", "floors/split.c", "floors/broadcast.c", "load/load.c")


class BuildError(Exception):
    """There is no compiler, or it failed."""


def build(into: Path) -> bool:
    """Compile floors and load into a folder. Return whether the load speaks TLS, which needs OpenSSL's headers."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError("the floors and the load are C: a compiler named cc is needed")
    for source in SOURCES:
        _compile(compiler, HERE / source, into / Path(source).stem)
    try:
        _compile(compiler, HERE / "load/load.c", into / "load-tls", "-DWITH_TLS", "-lssl", "-lcrypto")
    except BuildError:
        return False
    return True


def _compile(compiler: str, source: Path, program: Path, *flags: str) -> None:
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{source.name}: {done.stderr.strip()}")


def certificate(into: Path) -> Path | None:
    """Make a temporary certificate with its key in one file; None if openssl is missing or fails."""
    if shutil.which("openssl") is None:
        return None
    both = into / "both.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(into / "key.pem")]
    command = ["openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=localhost", "-out", str(into / "cert.pem")]
    if subprocess.run(command, capture_output=True).returncode:
        return None
    both.write_text((into / "cert.pem").read_text() + (into / "key.pem").read_text())
    return both
