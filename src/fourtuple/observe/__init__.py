"""Observers that come with fourtuple: JSON lines, the log of failures, the capture file."""
