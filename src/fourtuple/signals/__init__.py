"""What must work while one call holds the loop, or even the interpreter's lock: stopping, and naming that call."""

from __future__ import annotations

from fourtuple.signals.counting import NUMBERS, StopSignals, stop_signals
from fourtuple.signals.groups import ends_with_us
from fourtuple.signals.tripwire import Tripwire

__all__ = ["NUMBERS", "StopSignals", "Tripwire", "ends_with_us", "stop_signals"]
