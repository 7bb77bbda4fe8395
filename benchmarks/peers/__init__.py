"""The servers that fourtuple is measured beside, each written as its own users would write it well.

Each is a program: ``python -m benchmarks.peers.NAME FRAMING``; it listens on a port of loopback that the kernel
chooses and prints it. Each calls :func:`benchmarks.peers.handler.answer` for every message.
"""
