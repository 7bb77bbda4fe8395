/* The stages of a turn: receive from several connections, let their handlers run, send what these replied.
 *
 * The kernel's way in, the interpreter, and the kernel's way out are each too large for the processor's nearest caches:
 * one after the other for each connection, each would push the others out.
 */
#ifndef FOURTUPLE_TURN_STAGES_H
#define FOURTUPLE_TURN_STAGES_H

#include "end.h"
#include "in.h"
#include "out.h"
#include "replies.h"
#include "talk.h"

#define MOST_DUE 16     /* connections of one stage: what so few of them have read stays in the next cache */
#define ENOUGH 65536    /* octets that were read: more of them would not, and large messages are handled one at a time */
#define PATIENCE 0.0002 /* seconds that handlers may take before what others replied is sent */

typedef struct {
    PyObject *channel, *stream;
    ssize_t size; /* of what was read */
    bool uncut;   /* it is held by the decoder, its messages are not in the inbox yet */
    bool to_send; /* what its handler replied */
} Due;

static inline bool
replies(PyObject *consumer)
{
    return replies_class.type && Py_IS_TYPE(consumer, replies_class.type);
}

/* Whether a consumer has nothing to do with half a message: a thread is lent at the first octet. */
static inline bool
wants_whole(PyObject *consumer)
{
    return replies(consumer) || talks(consumer);
}

/* Put what feed() returned, NULL where it raised, into the inbox. Returns 2 when the channel's consumer is due, 1 when
 * nothing is left to do, -1 with an exception. Steals `messages`. */
static int
take_messages(PyObject *channel, PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now)
{
    if (!messages) {
        PyObject *error = caught();
        int status = -1;
        if (PyObject_IsInstance(error, message_error) == 1)
            status = done(call1(stream, str_message_error, error));
        else
            raise(error);
        Py_DECREF(error);
        if (!status)
            status = done(call0(channel, str_consume));
        return status < 0 ? -1 : 1;
    }
    Py_ssize_t count = fill_inbox(stream, decoder, messages, now);
    return count < 0 ? -1 : count || !wants_whole(get(channel, channel_class.consumer)) ? 2 : 1;
}

/* Receive, and leave messages in the inbox or, uncut, octets in the decoder. Returns 2 when the channel is due, 1 when it
 * was served, 0 when Python is to serve it, -1 with an exception. */
static int
read_channel(PyObject *channel, PyObject *now, Due *due)
{
    PyObject *stream = get(channel, channel_class.stream);
    if (!Py_IS_TYPE(stream, stream_class.type) || !usual(channel, stream) || !quiet_in(stream) ||
        !quiet_out(stream) ||
        uncut(stream) || know_limits(get(stream, stream_class.limits)) < 0)
        return PyErr_Occurred() ? -1 : 0;

    PyObject *messages = NULL, *decoder = Py_NewRef(get(stream, stream_class.decoder));
    PyObject *consumer = get(channel, channel_class.consumer);
    bool later = replies(consumer) || (talks(consumer) && listens(consumer));
    Py_INCREF(stream);
    int status = -1;
    ssize_t size = read_messages((int)PyLong_AsLong(get(channel, channel_class.fd)), decoder, later, &messages);
    if (size < 0) {
        if (!PyErr_Occurred() && errno == ECONNRESET) {
            status = end(channel, stream, decoder, true, now);
            if (status)
                goto end;
            errno = ECONNRESET;
            PyErr_SetFromErrno(PyExc_OSError);
        }
        if (!PyErr_Occurred())
            status = 0; /* nothing to be read */
        else if (PyErr_ExceptionMatches(PyExc_OSError))
            status = hand_error(channel, str_broken);
        goto end;
    }
    if (!size) {
        status = end(channel, stream, decoder, false, now);
        if (!status)
            status = done(call1(channel, str_took, no_octets));
        goto end;
    }
    bool uncut = !messages && !PyErr_Occurred();
    PyObject *error = messages || uncut ? NULL : caught();
    set(stream, stream_class.last_activity, Py_NewRef(now));
    status = add(stream, stream_class.octets_in, size);
    if (status < 0) {
        Py_XDECREF(messages);
        Py_XDECREF(error);
        goto end;
    }
    if (error)
        raise(error);
    Py_XDECREF(error);
    status = uncut ? 2 : take_messages(channel, stream, decoder, messages, now);
    if (status == 2) {
        *due = (Due){Py_NewRef(channel), stream, size, uncut, false};
        Py_DECREF(decoder);
        return 2;
    }
end:
    Py_DECREF(decoder);
    Py_DECREF(stream);
    return status < 0 ? -1 : 1;
}

/* Cut the octets that read_channel() left to the decoder: as take_messages(). */
static int
cut(PyObject *channel, PyObject *stream, PyObject *now)
{
    PyObject *decoder = Py_NewRef(get(stream, stream_class.decoder));
    PyObject *messages = split->feed(decoder, no_octets, known_limits.max_batch);
    int status = take_messages(channel, stream, decoder, messages, now);
    Py_DECREF(decoder);
    return status;
}

/* Let the consumer have what was read. Handlers of other connections have run since: all is looked at again. */
static int
consume(Due *due, PyObject *now)
{
    PyObject *channel = due->channel, *stream = due->stream;
    if (get(channel, channel_class.stream) != stream || !usual(channel, stream) ||
        get(stream, stream_class.tap) != Py_None)
        return done(call1(channel, str_on_ready, no_events));
    if (know_limits(get(stream, stream_class.limits)) < 0)
        return -1;
    if (due->uncut) {
        if (!quiet_in(stream) || !splits(get(stream, stream_class.decoder)))
            return done(call1(channel, str_on_ready, no_events));
        int status = cut(channel, stream, now);
        if (status != 2)
            return status < 0 ? -1 : 0;
    }
    PyObject *consumer = get(channel, channel_class.consumer);
    if (!wants_whole(consumer))
        return done(call0(channel, str_consume));
    if (!PyList_CheckExact(get(stream, stream_class.inbox)) || !PyList_GET_SIZE(get(stream, stream_class.inbox)))
        return done(call1(channel, str_on_ready, no_events));
    int status;
    Py_INCREF(consumer);
    if (replies(consumer)) {
        status = reply(channel, stream, consumer, &due->to_send);
    }
    else {
        status = talk(channel, consumer);
        due->to_send = !status;
    }
    Py_DECREF(consumer);
    return status;
}

/* Send what the handler replied. Returns 1 where something unusual came up, and Python was at work. */
static int
send_due(Due *due, PyObject *now)
{
    PyObject *channel = due->channel, *stream = due->stream, *runner = get(channel, channel_class.consumer);
    if (!replies(runner) && !talks(runner))
        return done(call1(channel, str_on_ready, no_events)) < 0 ? -1 : 1;
    Py_INCREF(runner);
    int status;
    if (talks(runner))
        status = settle_talk(channel, stream, runner, now);
    else if (get(channel, channel_class.stream) == stream && usual(channel, stream) &&
        get(stream, stream_class.tap) == Py_None)
        status = send_batch(channel, stream, runner, now);
    else
        status = done(call0(runner, str_carry_on)) < 0 ? -1 : 1;
    Py_DECREF(runner);
    return status;
}

#endif
