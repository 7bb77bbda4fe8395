"""The parts of a server: accept, admission, registry, monitors, drain."""
