"""A relay whose target is the relay itself."""

from __future__ import annotations

import socket

import pytest

from fourtuple.address import Address
from fourtuple.relay.itself import is_itself


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        ("127.0.0.1:9", "127.0.0.1:9"),
        ("127.0.0.1:9", "localhost:9"),
        ("127.0.0.1:9", "[::ffff:127.0.0.1]:9"),
        ("127.0.0.1:9", "0.0.0.0:9"),
        ("localhost:9", "127.0.0.1:9"),
        ("0.0.0.0:9", "127.0.0.7:9"),
        ("0.0.0.0:9", "localhost:9"),
        ("*:9", "127.0.0.1:9"),
        ("unix:/tmp/a", "unix:/tmp/../tmp/a"),
        ("unix:@a", "unix:@a"),
    ],
)
def test_its_own_address(listen: str, target: str) -> None:
    assert is_itself(Address.parse(listen), Address.parse(target))


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        ("127.0.0.1:9", "127.0.0.1:10"),
        ("127.0.0.1:9", "127.0.0.2:9"),
        ("127.0.0.1:0", "127.0.0.1:9"),
        ("0.0.0.0:9", "192.0.2.1:9"),
        ("0.0.0.0:9", "[::1]:9"),
        ("[::]:9", "127.0.0.1:9"),
        ("127.0.0.1:9", "nobody.invalid:9"),
        ("nobody.invalid:9", "127.0.0.1:9"),
        ("unix:/tmp/a", "unix:/tmp/b"),
        ("unix:/tmp/a", "unix:@/tmp/a"),
        ("unix:/tmp/a", "127.0.0.1:9"),
        ("fd:987654", "127.0.0.1:9"),
        ("fd:name", "127.0.0.1:9"),
    ],
)
def test_another_address(listen: str, target: str) -> None:
    assert not is_itself(Address.parse(listen), Address.parse(target))


def test_a_descriptor_that_listens_at_the_target() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive:
        port = passive.getsockname()[1]
        assert is_itself(Address(fd=passive.fileno()), Address("127.0.0.1", port))
        assert not is_itself(Address(fd=passive.fileno()), Address("127.0.0.2", port))
        assert passive.getsockname()[1] == port  # it is still open


def test_another_name_of_its_socket_file(tmp_path: object) -> None:
    import os

    os.symlink(str(tmp_path), f"{tmp_path}/link")
    assert is_itself(Address(path=f"{tmp_path}/s"), Address(path=f"{tmp_path}/link/s"))
