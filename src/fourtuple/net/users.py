"""Users and groups: their numbers, and giving up the privileges of root."""

from __future__ import annotations

import os

from fourtuple.errors import OptionError
from fourtuple.options.checking import is_id


def ids_of(owner: str) -> tuple[int, int]:
    """Return the numbers of ``USER``, ``USER:GROUP`` or ``:GROUP``; -1 for what is not given.

    Raises :class:`~fourtuple.errors.OptionError` for a name that this machine does not know.
    """
    user, _, group = owner.partition(":")
    option = "unix_owner"
    return (_user(user, option)[0] if user else -1), (_group(group, option) if group else -1)


def _user(name: str, option: str = "user") -> tuple[int, int | None]:
    """The number of a user, and of its group; None for a number that has no entry."""
    import pwd  # imported here: most servers name no user

    try:
        entry = pwd.getpwuid(int(name)) if is_id(name) else pwd.getpwnam(name)
    except KeyError:
        if is_id(name):
            return int(name), None
        raise OptionError(f"{option}: there is no user {name!r} on this machine") from None
    return entry.pw_uid, entry.pw_gid


def _group(name: str, option: str = "group") -> int:
    import grp  # imported here, as above

    if is_id(name):
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OptionError(f"{option}: there is no group {name!r} on this machine") from None


def check_can_drop(user: str | None, group: str | None) -> None:
    """Raise :class:`~fourtuple.errors.OptionError` if :func:`drop_privileges` could not do it."""
    _targets(user, group)


def drop_privileges(user: str | None, group: str | None) -> None:
    """Become this user and group forever, with the groups that the user is in; None keeps the current one.

    Without ``group`` it is the group of the user. Call it when all sockets are bound and before octets of peers are
    read. It acts on all threads of the process (setuid(2): glibc tells each one). Raises
    :class:`~fourtuple.errors.OptionError` for unknown names, and if the process is not root.
    """
    uid, gid, name = _targets(user, group)
    if uid is None and gid is None:
        return
    if os.geteuid() == 0:
        if name is not None and gid is not None:
            os.initgroups(name, gid)
        else:
            os.setgroups([] if gid is None else [gid])
    if gid is not None:
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)
        if uid != 0:
            _check_gone()


def _targets(user: str | None, group: str | None) -> tuple[int | None, int | None, str | None]:
    """Return the numbers, and the name of the user if it has one."""
    uid = gid = name = None
    if user is not None:
        uid, gid = _user(user)
        name = _name_of(uid)
    if group is not None:
        gid = _group(group)
    if user is not None and gid is None:
        raise OptionError(f"user: {user} has no entry on this machine, and so no group; also give --group")
    if os.geteuid() != 0 and (uid not in (None, os.geteuid()) or gid not in (None, os.getegid())):
        raise OptionError("user: only root can become another user or group; this process is not root")
    return uid, gid, name


def _name_of(uid: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _check_gone() -> None:
    """Make certain that root is gone: it must not be possible to become root again."""
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise OptionError("user: the process could become root again; it must not keep CAP_SETUID")
