"""What happens between "connect" and the first octet: names, addresses, SYN, route, TCP options, TLS, first octets.

::

    dialing            names and the race between addresses, with a clock on each step
    conversing         PROXY, TLS, the first octets
    looking            what a look at this machine's own kernel adds: a full accept queue, who has not accepted
    result  verdict    PURE: what was found, and what it means
    x509               PURE: what a certificate says of itself
"""

from __future__ import annotations
