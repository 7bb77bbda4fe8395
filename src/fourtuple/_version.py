"""The version. It is written only here: the package's metadata and `fourtuple --version` read it."""

#: The version of fourtuple.
__version__ = "0.1.0"
