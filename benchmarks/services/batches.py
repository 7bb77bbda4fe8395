"""Messages of 16 octets, handled by one call for all that have arrived together."""

from fourtuple import Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.replies
def loud(messages: list[bytes]) -> list[bytes]:
    """Return the messages in capital letters."""
    return [message.upper() for message in messages]
