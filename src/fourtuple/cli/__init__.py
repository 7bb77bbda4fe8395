"""The command: it turns arguments into calls, and results into exit codes. No other package imports it."""
