"""Compiles the programs of the benchmarks: the floors and the load in C, the peers in Go and Rust."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
#: Debian's packages of Rust code.
CRATES = Path("/usr/share/cargo/registry")
#: What the Rust peer is compiled from, besides the libraries that these need.
RUST_PACKAGES = {"tokio": "librust-tokio-dev", "tokio-rustls": "librust-tokio-rustls-dev",
                 "rustls-pemfile": "librust-rustls-pemfile-dev"}  # fmt: skip
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
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *flags, "-lm"]
    _run(command, source.name)


def build_go(into: Path) -> None:
    """Compile the peer in Go."""
    compiler = shutil.which("go")
    if compiler is None:
        raise BuildError("Go is not installed (golang-go)")
    _run([compiler, "build", "-o", str(into / "go"), "."], "go", folder=HERE / "peers/go")


def build_rust(into: Path) -> None:
    """Compile the peer in Rust, from Debian's packages of its libraries; what is compiled of them is kept."""
    compiler = shutil.which("cargo")
    missing = ["cargo"] * (compiler is None)
    missing += [package for crate, package in RUST_PACKAGES.items() if crate_version(crate) is None]
    if compiler is None or missing:
        raise BuildError(f"not installed: {', '.join(missing)}")
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fourtuple-benchmarks"
    (kept / "src").mkdir(parents=True, exist_ok=True)
    for name in ("Cargo.toml", "src/main.rs"):
        octets = (HERE / "peers/rust" / name).read_bytes()
        if not (kept / name).exists() or (kept / name).read_bytes() != octets:
            (kept / name).write_bytes(octets)
    replacement = ('source.crates-io.replace-with="debian"', f'source.debian.directory="{CRATES}"')
    options = [option for each in replacement for option in ("--config", each)]
    _run([compiler, "build", "--release", "--offline", "--quiet", *options], "rust", folder=kept)
    shutil.copy(kept / "target/release/rust-server", into / "rust")


#: By program of a subject: what compiles it, when a row asks for it.
PEERS: dict[str, Callable[[Path], None]] = {"go": build_go, "rust": build_rust}


def crate_version(name: str) -> str | None:
    """The version of a Rust library that Debian's packages have installed; None without it."""
    found = [path.name.removeprefix(f"{name}-") for path in CRATES.glob(f"{name}-[0-9]*")]
    return max(found, default=None)


def _run(command: list[str], name: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise BuildError(f"{name}: {done.stderr.strip()}")


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
