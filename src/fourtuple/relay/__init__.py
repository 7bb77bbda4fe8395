"""Relays: octets between two connections, held, cut, edited and broken on the way.

``toxics``, ``flow``, ``cutting``, ``notation`` and ``recording`` are pure: they decide. ``pump`` moves the octets of
one direction as a flow decides, for the relay and for :class:`fourtuple.testing.Toxic`. ``link`` is one relayed
conversation, ``targets`` what it may be relayed to, and ``relay`` the service of ``fourtuple relay``.
"""
