"""Puts the benchmarks, which are not an installed package, on the import path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
