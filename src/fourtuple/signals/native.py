"""The part of this package that is written in C, if it is built: see ``_signals/module.c``."""

from __future__ import annotations

from fourtuple.compiled import compiled

#: The C module, or ``None``.
native = compiled("signals", 2)
