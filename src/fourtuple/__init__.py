"""fourtuple: a runtime and toolkit for TCP services."""
