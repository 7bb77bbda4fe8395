"""fourtuple compared with its peers and with the floor on this machine: ``python -m benchmarks``."""
