"""Sockets as the kernel has them, what it tells of a connection, and how to connect."""
