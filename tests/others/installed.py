"""A plugin of pytest: the tests of other projects run with their servers on our engine, their code unchanged."""

from fourtuple import adapters

adapters.install()
