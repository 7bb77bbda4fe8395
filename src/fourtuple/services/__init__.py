"""Services for trying things out. Each is a file like that of a user; no other code refers to them by name.

``fourtuple serve echo`` serves the attribute ``service`` of ``fourtuple.services.echo``.
"""
