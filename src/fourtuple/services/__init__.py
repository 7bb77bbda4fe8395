"""Services to try things with. Each is a file as a user would write it, and nothing anywhere knows their names.

``fourtuple serve echo`` serves ``fourtuple.services.echo``, attribute ``service``.
"""
