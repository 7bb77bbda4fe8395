"""The public test kit: check your own framing in five lines, and test a protocol without a socket.

::

    from fourtuple.testing import check_framing, memory_pair

    def test_my_framing():
        check_framing(MyFraming(), [(b"<one><two>", [b"one", b"two"])])

    def test_my_protocol():
        near, far = memory_pair(MyFraming(), cut=1)  # octet by octet
        near.send(b"one")
        assert far.receive() == b"one"

``fourtuple.testing.strategies`` has the hypothesis strategies (hypothesis is imported there and nowhere else),
``python -m fourtuple.testing.fuzz FRAMING`` runs any number of random cases.
"""

from fourtuple.relay.toxics import Toxics
from fourtuple.testing.clock import Clock
from fourtuple.testing.counting import Count, counted
from fourtuple.testing.driving import Outcome, drive
from fourtuple.testing.fixture_types import TcpClient, TcpServer
from fourtuple.testing.flaky import FlakyListener
from fourtuple.testing.framings import Vector, check_framing
from fourtuple.testing.memory import MemoryPair, UnlikePair, async_memory_pair, memory_pair
from fourtuple.testing.memory_service import MemoryService
from fourtuple.testing.toxic import Toxic
from fourtuple.testing.wire import Stuck, Wire

__all__ = [
    "Clock",
    "Count",
    "FlakyListener",
    "MemoryPair",
    "MemoryService",
    "Outcome",
    "Stuck",
    "TcpClient",
    "TcpServer",
    "Toxic",
    "Toxics",
    "UnlikePair",
    "Vector",
    "Wire",
    "async_memory_pair",
    "check_framing",
    "counted",
    "drive",
    "memory_pair",
]
