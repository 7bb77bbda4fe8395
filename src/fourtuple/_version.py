"""The version, written here and nowhere else: the package's metadata and `fourtuple --version` read it."""

__version__ = "0.1.0"
