"""Stopping, and naming a blocking call, even while one call blocks the loop or holds the interpreter's lock."""

from __future__ import annotations

from fourtuple.signals.groups import ends_with_us
from fourtuple.signals.stopping import NUMBERS, StopSignals, ignored, stop_signals
from fourtuple.signals.tripwire import Tripwire

__all__ = ["NUMBERS", "StopSignals", "Tripwire", "ends_with_us", "ignored", "stop_signals"]
