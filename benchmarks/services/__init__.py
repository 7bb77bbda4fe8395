"""What a user of fourtuple would write for the benchmarks' rows: a file with a service in it."""
