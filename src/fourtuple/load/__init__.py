"""The load generator: it measures how fast a server answers, in its own framing, and how it handles misbehaving peers.

::

    from fourtuple.load import Load, run

    result = run("127.0.0.1:9999", "line", Load(connections=64, duration=5, expect="same"), messages=[b"hello"])
    print(result.rate, result.latency.percentile(99) / 1e6, "ms")

``fourtuple bench`` runs it from a terminal.
"""

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.load.histogram import Histogram, hgrm
    from fourtuple.load.options import Load
    from fourtuple.load.result import Result
    from fourtuple.load.running import Run, run
    from fourtuple.load.tally import Interval, Phase, Tally

__all__ = ["Histogram", "Interval", "Load", "Phase", "Result", "Run", "Tally", "hgrm", "run"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.load.histogram": ("Histogram", "hgrm"),
            "fourtuple.load.options": ("Load",),
            "fourtuple.load.result": ("Result",),
            "fourtuple.load.running": ("Run", "run"),
            "fourtuple.load.tally": ("Interval", "Phase", "Tally"),
        },
    )
