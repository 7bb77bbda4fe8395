"""The public test kit: prove a framing of your own in five lines.

::

    from fourtuple.testing import check_framing

    def test_my_framing():
        check_framing(MyFraming(), [(b"<one><two>", [b"one", b"two"])])

``fourtuple.testing.strategies`` has the hypothesis strategies (hypothesis is imported there and nowhere else),
``python -m fourtuple.testing.fuzz FRAMING`` runs as many random cases as asked for.
"""

from fourtuple.testing.counting import Count, counted
from fourtuple.testing.driving import Outcome, drive
from fourtuple.testing.framings import Vector, check_framing

__all__ = ["Count", "Outcome", "Vector", "check_framing", "counted", "drive"]
