"""A network namespace of one's own, and a device in it whose packets come to this process: netdevice(7), tun."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

#: This end, and the address behind the device: what is sent there comes back from there.
HERE, THERE = "10.99.0.1", "10.99.0.2"
_DEVICE = b"care0"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFMTU = 0x8916, 0x891C, 0x8913, 0x8914, 0x8922
_IFF_UP = 1
_MTU = 1500


def enter_namespace() -> None:
    """Leave the network of the machine for one of this process's own, in which it may make devices.

    Raises :class:`OSError` where that is not allowed: unprivileged user namespaces are switched off, or a container
    forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare(_CLONE_NEWNET)
        return
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def open_device() -> int:
    """Make the device, give it its address, and return its descriptor. Raises :class:`OSError`."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", _DEVICE, _IFF_TUN | _IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((_SIOCSIFADDR, HERE), (_SIOCSIFNETMASK, "255.255.255.0")):
                name = struct.pack("16sHH4s8x", _DEVICE, socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, request, name)
            fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", _DEVICE, _MTU))
            for device in (_DEVICE, b"lo"):
                found = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", device, 0))
                flags = struct.unpack_from("H", found, 16)[0] | _IFF_UP
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", device, flags))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_packet(descriptor: int) -> bytes | None:
    """Return the next packet that this machine sends; None if there is none now."""
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return None


def write_packet(descriptor: int, packet: bytes) -> None:
    """Let a packet arrive at this machine. A packet that the device does not take is lost, as on any path."""
    try:
        os.write(descriptor, packet)
    except OSError as error:
        if error.errno not in (errno.ENOBUFS, errno.EAGAIN, errno.EIO):
            raise
