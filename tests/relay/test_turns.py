"""A relay that cuts messages takes no more than its share of the loop, however many messages one read has."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple import Server, Service
from fourtuple.framing import parse_framing
from fourtuple.relay.notation import ToxicTable
from fourtuple.relay.relay import Options, Relay
from fourtuple.relay.targets import AddressTarget
from handlers.test_share import FLOOD, MESSAGES, Count, keeping_up
from rig import PATIENT


@pytest.mark.parametrize("way", ["shown", "edited"])
def test_no_more_than_a_share_between_two_turns_of_the_loop(run_async: Any, readiness: Any, way: str) -> None:
    async def main() -> None:
        count, sink = Count(), Service("line")
        sink.reply(lambda message: None)
        edits = way == "edited"
        options = Options(parse_framing("line"), (lambda message, _: count(message)) if edits else None)

        def observe(event: Any) -> None:
            if event.kind == "message-relayed" and not edits:
                count()

        async with Server(sink, readiness=readiness, deadlines=PATIENT) as behind:
            relay = Relay(AddressTarget(behind.address, {}, None), options, ToxicTable(), observe)
            async with Server(relay.service, readiness=readiness, deadlines=PATIENT) as server:
                for each in (server, behind):
                    each.engine.turn_seconds, each.engine.share.messages = 60.0, MESSAGES
                with keeping_up(server, FLOOD):
                    assert await count.most(server) <= 2 * MESSAGES
                await server.abort()

    run_async(main())
