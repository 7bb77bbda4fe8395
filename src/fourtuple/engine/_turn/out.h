/* The way out: the encoder, the outbox, send(2). */
#ifndef FOURTUPLE_TURN_OUT_H
#define FOURTUPLE_TURN_OUT_H

#include "calls.h"
#include "in.h"
#include "neighbours.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The framing encoded for last, its splitter in C, should it have one, and whether FIN follows each of its messages. */
static struct {
    PyObject *framing, *splitter;
    bool ends_stream;
} known_framing;

/* Whether all is as usual: then what follows need not look again until Python code has run. */
static inline bool
usual(PyObject *channel, PyObject *stream)
{
    return get(stream, stream_class.layer) == Py_None && get(stream, stream_class.reading) == half_open &&
           get(stream, stream_class.writing) == half_open && get(stream, stream_class.closing) == Py_False &&
           get(stream, stream_class.read_error) == Py_None && get(channel, channel_class.socket) != Py_None &&
           get(channel, channel_class.detached) == Py_False;
}

/* Whether nothing waits to be written, and nobody looks at what is. */
static inline bool
quiet_out(PyObject *stream)
{
    PyObject *pending = get(stream, stream_class.pending);
    return get(stream, stream_class.tap) == Py_None && PyList_CheckExact(pending) && !PyList_GET_SIZE(pending) &&
           PyLong_AsSsize_t(get(stream, stream_class.outbox_size)) == 0;
}

static void
know_framing(PyObject *framing)
{
    if (known_framing.framing == framing)
        return;
    PyObject *splitter = split ? PyObject_GetAttr(framing, str_encoder) : NULL;
    if (!splitter)
        PyErr_Clear(); /* a framing that has none */
    else if (!Py_IS_TYPE(splitter, split->splitter))
        Py_CLEAR(splitter);
    PyObject *ends = PyObject_GetAttr(framing, str_ends_stream);
    if (!ends)
        PyErr_Clear(); /* Python is to say so */
    Py_XSETREF(known_framing.splitter, splitter);
    Py_XSETREF(known_framing.framing, Py_NewRef(framing));
    known_framing.ends_stream = ends != Py_False;
    Py_XDECREF(ends);
}

/* The splitter in C that encodes for a framing, borrowed; NULL where it has none. */
static PyObject *
encoder_of(PyObject *framing)
{
    know_framing(framing);
    return known_framing.splitter;
}

static inline bool
ends_stream(PyObject *framing)
{
    know_framing(framing);
    return known_framing.ends_stream;
}

/* The octets of a list of replies, as framing.encode_many() makes them. */
static PyObject *
encode(PyObject *framing, PyObject *replies)
{
    PyObject *splitter = encoder_of(framing);
    if (splitter) {
        PyObject *octets = split->encode_many(splitter, replies);
        if (octets != Py_None)
            return octets;
        Py_DECREF(octets);
    }
    return call1(framing, str_encode_many, replies);
}

/* The octets of one message that is bytes; NULL without an exception where Python is to encode it. */
static PyObject *
encode_one(PyObject *framing, PyObject *message)
{
    PyObject *splitter = encoder_of(framing);
    PyObject *octets = splitter ? split->encode_one(splitter, message) : NULL;
    if (octets == Py_None)
        Py_CLEAR(octets);
    return octets;
}

/* Encode the pending replies into octets. NULL without an exception: Python is to say which one cannot be. */
static PyObject *
encode_pending(PyObject *stream, PyObject *pending)
{
    Py_ssize_t count = PyList_GET_SIZE(pending);
    if (count && Py_IS_TYPE(PyList_GET_ITEM(pending, 0), replies_class.unsendable))
        return NULL;
    PyObject *framing = Py_NewRef(get(stream, stream_class.framing));
    PyObject *octets = ends_stream(framing) ? NULL : encode(framing, pending);
    Py_DECREF(framing);
    if (octets && PyBytes_CheckExact(octets) && PyList_GET_SIZE(pending) == count) {
        if (!PyList_SetSlice(pending, 0, count, NULL) && !add(stream, stream_class.messages_out, count))
            return octets;
    }
    else if (!octets && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear(); /* Python raises it again; Ctrl-C comes once */
    }
    Py_XDECREF(octets);
    return NULL;
}

/* Put octets behind those in the outbox. Raises OutboxFull. */
static int
into_outbox(PyObject *stream, PyObject *octets)
{
    if (!PyBytes_CheckExact(octets)) {
        PyErr_Format(PyExc_TypeError, "encode() returned %.100s, not bytes", Py_TYPE(octets)->tp_name);
        return -1;
    }
    if (!PyBytes_GET_SIZE(octets))
        return 0;
    Py_ssize_t waiting = PyLong_AsSsize_t(get(stream, stream_class.outbox_size));
    if (know_limits(get(stream, stream_class.limits)) < 0)
        return -1;
    if (waiting >= known_limits.max_outbox)
        return done(call1(stream, str_write, octets)); /* which raises that */
    PyObject *outbox = get(stream, stream_class.outbox);
    if (!PyList_CheckExact(outbox)) { /* NOTHING, of a connection that has never had anything to wait for */
        outbox = PyList_New(0);
        if (!outbox)
            return -1;
        set(stream, stream_class.outbox, outbox);
    }
    if (PyList_Append(outbox, octets) < 0)
        return -1;
    return add(stream, stream_class.outbox_size, PyBytes_GET_SIZE(octets));
}

/* Encode several replies while they are in the nearest cache, which those of other connections would push them out of. */
static int
encode_early(PyObject *stream)
{
    PyObject *pending = get(stream, stream_class.pending);
    if (PyList_GET_SIZE(pending) < 2 || PyLong_AsSsize_t(get(stream, stream_class.outbox_size)))
        return 0;
    Py_INCREF(pending);
    PyObject *octets = encode_pending(stream, pending);
    Py_DECREF(pending);
    if (!octets)
        return PyErr_Occurred() ? -1 : 0; /* which one cannot be, Python says when they are to be sent */
    int status = into_outbox(stream, octets);
    Py_DECREF(octets);
    return status;
}

/* Encode a reply that is not plain octets at once, as Python does: it may change after the handler gave it. */
static int
take_value(PyObject *channel, PyObject *stream, PyObject *value)
{
    if (!usual(channel, stream) || ends_stream(get(stream, stream_class.framing))) {
        if (PyList_Append(get(stream, stream_class.pending), value) < 0)
            return -1;
        return done(call0(stream, str_commit));
    }
    if (PyList_GET_SIZE(get(stream, stream_class.pending)) && done(call0(stream, str_commit)) < 0)
        return -1;
    PyObject *framing = Py_NewRef(get(stream, stream_class.framing));
    PyObject *octets = call1(framing, str_encode, value);
    Py_DECREF(framing);
    int status = octets ? into_outbox(stream, octets) : -1;
    if (!status)
        status = add(stream, stream_class.messages_out, 1);
    Py_XDECREF(octets);
    return status;
}

/* Octets that one connection sends in one go: a peer that is as fast as we are must not hold the others up. */
#define MOST_SENT (4 * 1024 * 1024)

/* Send octets that stand in no outbox; what the kernel does not take Python keeps. */
static int
send_octets(PyObject *channel, PyObject *stream, PyObject *octets, PyObject *now)
{
    Py_ssize_t size = PyBytes_GET_SIZE(octets), most = Py_MIN(size, MOST_SENT), taken = 0;
    bool failed = false;
    int fd = (int)PyLong_AsLong(get(channel, channel_class.fd));
    /* Until the kernel takes no more, not until it takes less: what the peer acknowledges while send(2) is at work makes
     * room only behind it, and then a large reply needs no other turn. */
    while (taken < most && !failed) {
        ssize_t more = send(fd, PyBytes_AS_STRING(octets) + taken, most - taken, MSG_DONTWAIT | MSG_NOSIGNAL);
        failed = more < 0;
        taken += failed ? 0 : more;
    }
    if (taken == size)
        return add(stream, stream_class.octets_out, size);
    if (failed && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return add(stream, stream_class.octets_out, taken) < 0 ? -1 : hand_error(channel, str_write_failed);
    }
    PyObject *count = PyLong_FromSsize_t(taken);
    PyObject *arguments[] = {channel, octets, count, now};
    int status = count ? done(PyObject_VectorcallMethod(str_undersent, arguments,
                                                        4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))
                       : -1;
    Py_XDECREF(count);
    return status;
}

/* Send what a batch came to: the outbox, where something stands there, and the pending replies behind it. */
static int
send_batch(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now)
{
    PyObject *pending = get(stream, stream_class.pending), *octets;
    Py_ssize_t count = PyList_GET_SIZE(pending);
    if (count) {
        Py_INCREF(pending);
        octets = encode_pending(stream, pending);
        Py_DECREF(pending);
        if (!octets)
            return PyErr_Occurred() ? -1 : done(call0(runner, str_carry_on));
        if (PyLong_AsSsize_t(get(stream, stream_class.outbox_size))) {
            int status = into_outbox(stream, octets);
            Py_DECREF(octets);
            if (status < 0)
                return add(stream, stream_class.messages_out, -count) < 0 || hand_error(runner, str_failed) < 0
                           ? -1
                           : done(call0(channel, str_consume));
            octets = NULL;
        }
    }
    else if (PyLong_AsSsize_t(get(stream, stream_class.outbox_size))) {
        octets = NULL;
    }
    else {
        return 0; /* nobody replied */
    }
    if (!octets && PyLong_AsSsize_t(get(stream, stream_class.head)))
        return done(call0(channel, str_settle)); /* a part of it is sent already: that is kept in Python */
    if (!octets) {
        PyObject *outbox = get(stream, stream_class.outbox);
        octets = PyList_GET_SIZE(outbox) == 1 ? Py_NewRef(PyList_GET_ITEM(outbox, 0))
                                              : call1(no_octets, str_join, outbox);
        PyObject *nothing = octets ? PyLong_FromLong(0) : NULL;
        /* Of those who reply thousands may idle now, and an empty list each is much; a conversation wants it again. */
        PyObject *none = Py_IS_TYPE(runner, replies_class.type) ? PyTuple_New(0) : Py_NewRef(outbox);
        if (!nothing || !none || PyList_SetSlice(outbox, 0, PyList_GET_SIZE(outbox), NULL) < 0) {
            Py_XDECREF(octets);
            Py_XDECREF(nothing);
            Py_XDECREF(none);
            return -1;
        }
        set(stream, stream_class.outbox_size, nothing);
        set(stream, stream_class.outbox, none);
    }
    int status = send_octets(channel, stream, octets, now);
    Py_DECREF(octets);
    return status;
}

#endif
