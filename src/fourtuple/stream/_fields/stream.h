/* The fields of a stream and of its layer that C reads and writes. Twins: stream/fields.py. */
#ifndef FOURTUPLE_STREAM_H
#define FOURTUPLE_STREAM_H

#include "fields.h"

#define STREAM_FIELDS(F, T)                                                                                            \
    F(T, closing) F(T, decoder) F(T, framing) F(T, gap_at) F(T, _head) F(T, inbox) F(T, last_activity) F(T, layer)     \
    F(T, limits) F(T, message_since) F(T, messages_in) F(T, messages_out) F(T, _name) F(T, octets_in) F(T, octets_out) \
    F(T, opened) F(T, outbox) F(T, outbox_size) F(T, path) F(T, pending) F(T, _rare) F(T, reading) F(T, reason)        \
    F(T, _requests) F(T, writing)

#define LAYER_FIELDS(F, T)                                                                                             \
    F(T, holding) F(T, _incoming) F(T, _outgoing) F(T, _session) F(T, within)

FT_FIELDS(StreamFields, STREAM_FIELDS)
FT_FIELDS(LayerFields, LAYER_FIELDS)

/* Access to the fields by the part to which they belong. If a part becomes a separate object, it gets its own table,
 * and only its line here changes. */
#define STREAM(stream) ((StreamFields *)(stream))
#define IN(stream) STREAM(stream)  /* decoder, inbox, reading, undelivered octets */
#define OUT(stream) STREAM(stream) /* pending, outbox, writing */
#define ASKED(stream) STREAM(stream) /* requests */
#define LAYER(stream) ((LayerFields *)STREAM(stream)->layer)

#endif
