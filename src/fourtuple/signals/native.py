"""The part of this package that is written in C, if it is built: see ``_signals/module.c``."""

from __future__ import annotations

from types import ModuleType

from fourtuple.compiled import compiled

#: The C module, or ``None``.
native: ModuleType | None = compiled("signals")


def _bundled() -> None:
    """Never called. Programs that freeze others (PyInstaller, Nuitka) bundle what an import statement names.

    What ``compiled()`` imports by its name they cannot see, and a frozen program would do this in Python.
    """
    import fourtuple.signals._signals  # noqa: F401
