"""Rates: a token bucket, and what holds one connection, and all of one address, to their rates.

Pure: the clock is an argument.
"""
