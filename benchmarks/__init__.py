"""fourtuple beside its peers and beside the floor, side by side on this machine: ``python -m benchmarks``."""
