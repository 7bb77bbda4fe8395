"""Sockets of the kernel, its statistics of a connection, and how to connect."""
