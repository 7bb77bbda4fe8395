"""A server's parts: who comes in, who is here, what is watched, how it stops."""
