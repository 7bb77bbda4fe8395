"""The parts of a server: accept, admission, registry, load shedding, drain."""
