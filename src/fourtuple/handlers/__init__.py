"""Runs each kind of handler: the code between a connection's stream and the user's function."""

from __future__ import annotations

from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.handlers.batches import AwaitedBatches, InlineBatches
from fourtuple.handlers.conversation import AsyncConversation
from fourtuple.handlers.coroutines import EagerReplies
from fourtuple.handlers.handler_timeout import HandlerTimeouts
from fourtuple.handlers.inline import InlineGenerators, InlineReplies
from fourtuple.handlers.preamble import PreambleHandler
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.spares import Spares
from fourtuple.handlers.tasks import AwaitedReplies, ConcurrentReplies
from fourtuple.handlers.thread_replies import ThreadReplies
from fourtuple.handlers.threads import Threads
from fourtuple.service import AdaptedHandler, ConversationHandler, ProgramHandler, ReplyHandler, ReplyKind, Service

__all__ = [
    "HandlerTimeouts",
    "Host",
    "InlineReplies",
    "PreambleHandler",
    "Runner",
    "Spares",
    "Threads",
    "runner_for",
]


def runner_for(host: Host, service: Service, connection: Connection | None, channel: Channel) -> Runner:
    """Make the runner that the service's handler needs."""
    handler = service.handler
    if isinstance(handler, ReplyHandler):
        if handler.concurrency > 1:
            return ConcurrentReplies(host, service, connection, channel, handler)
        if handler.batches:
            batched = InlineBatches if handler.kind is ReplyKind.INLINE else AwaitedBatches
            return batched(host, service, connection, channel, handler)
        if handler.kind is ReplyKind.INLINE:
            return InlineReplies(host, service, connection, channel, handler)
        if handler.kind is ReplyKind.INLINE_GENERATOR:
            return InlineGenerators(host, service, connection, channel, handler)
        if handler.kind in (ReplyKind.ASYNC, ReplyKind.ASYNC_GENERATOR):
            return EagerReplies(host, service, connection, channel, handler)
        if handler.kind is ReplyKind.THREAD and not handler.wants_connection:
            return ThreadReplies(host, service, connection, channel, handler)
        return AwaitedReplies(host, service, connection, channel, handler)
    if isinstance(handler, ConversationHandler):
        if not handler.blocking:
            return AsyncConversation(host, service, connection, channel, handler)
        # Imported here: a server without blocking conversations does not need the blocking connection.
        from fourtuple.handlers.thread_conversation import ThreadConversation

        return ThreadConversation(host, service, connection, channel, handler)
    if isinstance(handler, AdaptedHandler):
        made: Runner = handler.make(host, service, connection, channel)
        return made
    assert isinstance(handler, ProgramHandler)
    from fourtuple.handlers.program import ProgramRunner  # imported here: few services start programs

    return ProgramRunner(host, service, connection, channel, handler)
