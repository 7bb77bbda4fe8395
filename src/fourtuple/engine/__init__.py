"""Sockets to octets and back, hosted by an asyncio loop. Knows no Service."""

from fourtuple.engine.channel import Channel
from fourtuple.engine.consumer import Consumer
from fourtuple.engine.engine import Engine, ReadinessChoice, release_engine, shared_engine
from fourtuple.engine.listener import Listener
from fourtuple.engine.share import Share
from fourtuple.engine.throttled import throttle

__all__ = [
    "Channel",
    "Consumer",
    "Engine",
    "Listener",
    "ReadinessChoice",
    "Share",
    "release_engine",
    "shared_engine",
    "throttle",
]
