/* The fields of a stream that C reads and writes. Twin: stream/fields.py. */
#ifndef FOURTUPLE_STREAM_H
#define FOURTUPLE_STREAM_H

#include "fields.h"

#define STREAM_FIELDS(F, T)                                                                                            \
    F(T, closing) F(T, decoder) F(T, framing) F(T, gap_at) F(T, _head) F(T, inbox) F(T, last_activity) F(T, layer)     \
    F(T, limits) F(T, message_since) F(T, messages_in) F(T, messages_out) F(T, _name) F(T, octets_in) F(T, octets_out) \
    F(T, opened) F(T, outbox) F(T, outbox_size) F(T, path) F(T, pending) F(T, _rare) F(T, reading) F(T, reason)        \
    F(T, _requests) F(T, writing)

FT_FIELDS(StreamFields, STREAM_FIELDS)

/* Access to the fields by the part to which they belong. If a part becomes a separate object, it gets its own table,
 * and only its line here changes. */
#define STREAM(stream) ((StreamFields *)(stream))
#define IN(stream) STREAM(stream)  /* decoder, inbox, reading, undelivered octets */
#define OUT(stream) STREAM(stream) /* pending, outbox, writing */
#define ASKED(stream) STREAM(stream) /* requests */

#endif
