"""The engine reads and writes sockets on an asyncio loop. It knows no Service."""

import os

from fourtuple.engine.channel import Channel
from fourtuple.engine.consumer import Attendant, Consumer
from fourtuple.engine.engine import Engine, ReadinessChoice
from fourtuple.engine.expire import miss
from fourtuple.engine.listener import Listener
from fourtuple.engine.share import Share
from fourtuple.engine.shared import release_engine, shared_engine
from fourtuple.engine.throttled import change_rates, throttle
from fourtuple.stream import checking

if "FOURTUPLE_CHECKS" in os.environ:  # after the import of the channel, which gives the C its classes
    checking.install()

__all__ = [
    "Attendant",
    "Channel",
    "Consumer",
    "Engine",
    "Listener",
    "ReadinessChoice",
    "Share",
    "change_rates",
    "miss",
    "release_engine",
    "shared_engine",
    "throttle",
]
