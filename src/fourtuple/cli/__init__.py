"""The command: arguments to calls to exit codes. Nobody imports it."""
