"""The part of this package that is written in C, if it is built: see ``_signals/module.c``."""

from __future__ import annotations

from types import ModuleType

from fourtuple.compiled import compiled

#: The C module, or ``None``.
native: ModuleType | None = compiled("signals")
