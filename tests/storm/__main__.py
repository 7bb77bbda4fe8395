"""``python -m storm --seconds 60 [--seed N] [--readiness nested]``: the storm for so long, or the round of one seed."""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
import warnings

from fourtuple.compiled import compiled  # noqa: F401 - says what runs
from storm.plan import draw
from storm.world import weather

#: A round that takes longer has hung: where it stands is printed, and the process ends.
ROUND_SECONDS = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="this round alone, as often as --times says")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--readiness", choices=("nested", "portable"))
    parser.add_argument("--verbose", "-v", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("error")
    first = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 40)
    print(f"storm: first seed {first}", flush=True)
    until, number, failed, longest = time.monotonic() + given.seconds, 0, 0, 0
    while number < given.times if given.seed is not None else time.monotonic() < until:
        round_ = draw(first + (number if given.seed is None else 0), given.readiness)
        faulthandler.dump_traceback_later(ROUND_SECONDS, exit=True)
        if given.verbose:
            print(round_, flush=True)
        began = time.monotonic()
        wrong, waited = weather(round_)
        faulthandler.cancel_dump_traceback_later()
        longest = max(longest, waited)
        number += 1
        if given.verbose:
            print(f"  {time.monotonic() - began:.2f} s, the longest wait {waited}", flush=True)
        if wrong:
            failed += 1
            print(f"WRONG {round_}\n  " + "\n  ".join(each[:500] for each in wrong), flush=True)
            print(f"  again: python -m storm --seed {round_.seed} --readiness {round_.readiness}", flush=True)
    print(f"storm: {number} rounds, {failed} wrong, the bystander's longest wait {longest} messages", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
