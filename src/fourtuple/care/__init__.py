"""TCP's own care made visible: one real connection over a slow path that loses segments.

Both ends are the kernel's own TCP, in a network namespace of its own. What lies between them is this process::

    path       PURE: a path with a rate, a delay, a queue and losses
    packets    PURE: IP packets, as far as the path has to know them
    tunnel     the namespace, and the device whose packets the path carries
    running    the connection: sends, stops reading for a while, reads again; takes samples
    telling    PURE: what happened, in sentences
    drawing    PURE: the samples as lines of text and as SVG
"""

from __future__ import annotations
