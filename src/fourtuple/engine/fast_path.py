"""The usual turn in C, where it is there: see ``_turn/module.c`` and, for what it does, ``channel.py``.

It is asked first; whatever it declines, and whatever it meets that is not usual, is done in Python.
"""

from __future__ import annotations

from fourtuple.compiled import compiled

#: The C module, or ``None``. The classes that it works on make themselves known to it.
turn = compiled("turn", 24)
