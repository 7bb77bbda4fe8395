"""Files that users name: what is not a regular file is refused at once, whoever would read it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import Files
from fourtuple import Tls
from fourtuple.config import configure
from fourtuple.errors import OptionError
from fourtuple.files import check_writable, read_regular
from fourtuple.tls.certificates import Certificates, client_context, server_context


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (fifo, "expected a regular file, got a FIFO"),
    "device": (device, "expected a regular file, got a device"),
    "directory": (Path.mkdir, "expected a regular file, got a directory"),
    "socket": (unix_socket, "No such device or address"),
}


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A path, and what is said of it."""
    make, text = KINDS[request.param]
    path = tmp_path / "odd"
    make(path)
    return str(path), text


def test_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"octets")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "file") == read_regular(str(tmp_path / "link")) == b"octets"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing")


def test_an_irregular_file_is_refused(odd: tuple[str, str]) -> None:
    path, text = odd
    with pytest.raises(OSError, match=text):
        read_regular(path)


@pytest.mark.parametrize("which", ["certificate", "key", "ca", "sni"])
def test_files_of_tls(odd: tuple[str, str], tmp_path: Path, which: str) -> None:
    path, text = odd
    files = Files(tmp_path)
    options = {"certificate": files.certificate, "key": files.key, which: path}
    if which == "sni":
        options["sni"] = f"a.example={path}"
    with pytest.raises(OptionError, match=text):
        server_context(Tls(**options))
    if which != "sni":
        with pytest.raises(OptionError, match=text):
            client_context(Tls(**options))


def test_a_certificate_that_becomes_a_fifo_does_not_stop_a_server_that_serves(tmp_path: Path) -> None:
    files = Files(tmp_path)
    certificates = Certificates(Tls(certificate=files.certificate, key=files.key))
    before = certificates.context
    os.unlink(files.certificate)
    os.mkfifo(files.certificate)
    with pytest.raises(OptionError, match=r"tls_certificate: cannot read .* expected a regular file, got a FIFO"):
        certificates.refresh(10.0)
    assert certificates.context is before
    assert certificates.refresh(20.0) is False  # told once


def test_an_odd_file_is_no_configuration(odd: tuple[str, str]) -> None:
    path, text = odd
    with pytest.raises(OptionError, match=text):
        configure(file=Path(path))


def test_whether_a_file_can_be_written_is_known_without_making_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").write_text("kept")
    check_writable(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "kept"
    os.mkfifo(tmp_path / "fifo")
    check_writable(tmp_path / "fifo")  # it is not opened: that would wait for a reader
    for path, error in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "no" / "new", FileNotFoundError),
        (tmp_path / "old" / "new", NotADirectoryError),
        (tmp_path / ("x" * 300), OSError),
    ):
        with pytest.raises(error):
            check_writable(path)


@pytest.mark.skipif(not os.geteuid(), reason="root may write everywhere")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "old").touch(0o400)
    (tmp_path / "folder").mkdir(0o500)
    for path in (tmp_path / "old", tmp_path / "folder" / "new"):
        with pytest.raises(PermissionError):
            check_writable(path)


def test_dev_null_is_a_file_with_nothing_in_it() -> None:
    assert read_regular("/dev/null") == b""
