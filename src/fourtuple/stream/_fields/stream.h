/* The fields of a stream that C reads and writes. Twin: stream/fields.py. */
#ifndef FOURTUPLE_STREAM_H
#define FOURTUPLE_STREAM_H

#include "fields.h"

#define STREAM_FIELDS(F)                                                                                               \
    F(closing, "closing")                                                                                              \
    F(decoder, "decoder")                                                                                              \
    F(framing, "framing")                                                                                              \
    F(gap_at, "gap_at")                                                                                                \
    F(head, "_head")                                                                                                   \
    F(inbox, "inbox")                                                                                                  \
    F(last_activity, "last_activity")                                                                                  \
    F(layer, "layer")                                                                                                  \
    F(limits, "limits")                                                                                                \
    F(message_since, "message_since")                                                                                  \
    F(messages_in, "messages_in")                                                                                      \
    F(messages_out, "messages_out")                                                                                    \
    F(name, "_name")                                                                                                   \
    F(octets_in, "octets_in")                                                                                          \
    F(octets_out, "octets_out")                                                                                        \
    F(opened, "opened")                                                                                                \
    F(outbox, "outbox")                                                                                                \
    F(outbox_size, "outbox_size")                                                                                      \
    F(path, "path")                                                                                                    \
    F(pending, "pending")                                                                                              \
    F(rare, "_rare")                                                                                                   \
    F(reading, "reading")                                                                                              \
    F(reason, "reason")                                                                                                \
    F(requests, "_requests")                                                                                           \
    F(writing, "writing")

FT_FIELDS(StreamFields, STREAM_FIELDS)

/* Access to the fields by the part to which they belong. If a part becomes a separate object, it gets its own table,
 * and only its line here changes. */
#define STREAM(stream) ((StreamFields *)(stream))
#define IN(stream) STREAM(stream)  /* decoder, inbox, reading, undelivered octets */
#define OUT(stream) STREAM(stream) /* pending, outbox, writing */
#define ASKED(stream) STREAM(stream) /* requests */

#endif
