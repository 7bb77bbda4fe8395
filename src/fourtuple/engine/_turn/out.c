/* Outbound: the encoder, the outbox, send(2). */
#include "engine/_turn/turn.h"

#include <errno.h>

/* The framing used last, its splitter in C or NULL, and whether FIN follows each of its messages. */
static struct {
    PyObject *framing, *splitter;
    bool ends_stream;
} known_framing;

static void know_framing(PyObject *framing)
{
    if (known_framing.framing == framing)
        return;
    PyObject *splitter = PyObject_GetAttr(framing, str._encoder);
    if (!splitter)
        PyErr_Clear(); /* this framing has no splitter */
    else if (!Py_IS_TYPE(splitter, Splitter_type))
        Py_CLEAR(splitter);
    PyObject *ends = PyObject_GetAttr(framing, str.ends_stream);
    if (!ends)
        PyErr_Clear(); /* Python raises the error when it looks itself */
    Py_XSETREF(known_framing.splitter, splitter);
    Py_XSETREF(known_framing.framing, Py_NewRef(framing));
    known_framing.ends_stream = ends != Py_False;
    Py_XDECREF(ends);
}

PyObject *turn_encoder_of(PyObject *framing)
{
    know_framing(framing);
    return known_framing.splitter;
}

static inline bool ends_stream(PyObject *framing)
{
    know_framing(framing);
    return known_framing.ends_stream;
}

/* Encode the pending replies. NULL without an exception: Python has to tell which one cannot be encoded. */
static PyObject *encode_pending(PyObject *stream)
{
    PyObject *pending = Py_NewRef(OUT(stream)->pending), *framing = Py_NewRef(STREAM(stream)->framing);
    PyObject *octets = NULL, *splitter;
    Py_ssize_t count = PyList_GET_SIZE(pending);
    if (!(count && is_a(PyList_GET_ITEM(pending, 0), turn_known.Unsendable)) && !ends_stream(framing))
        octets = (splitter = turn_encoder_of(framing)) ? split_encode_many(splitter, pending) : Py_NewRef(Py_None);
    if (octets == Py_None)
        ft_put(&octets, ft_call1(framing, str.encode_many, pending));
    if (octets && PyBytes_CheckExact(octets) && PyList_GET_SIZE(pending) == count) {
        if (PyList_SetSlice(pending, 0, count, NULL) < 0 || ft_add(&OUT(stream)->messages_out, count) < 0)
            Py_CLEAR(octets);
    }
    else {
        if (!octets && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
            PyErr_Clear(); /* Python raises it again; a KeyboardInterrupt would be lost */
        Py_CLEAR(octets);
    }
    Py_DECREF(framing);
    Py_DECREF(pending);
    return octets;
}

/* Octets of the conversation as they go onto the wire; none if Python has taken them. NULL with an exception. */
static PyObject *through_layer(PyObject *stream, PyObject *octets)
{
    if (STREAM(stream)->layer == Py_None)
        return Py_NewRef(octets);
    if (is_layered(stream))
        return turn_encrypt(stream, octets);
    PyObject *taken = ft_call1(stream, str.put, octets);
    if (taken)
        ft_put(&taken, Py_NewRef(turn_no_octets));
    return taken;
}

int turn_append_to_outbox(PyObject *stream, PyObject *octets)
{
    PyObject *outbox = OUT(stream)->outbox;
    if (!PyList_CheckExact(outbox)) { /* NOTHING: the outbox of this connection was never used */
        outbox = PyList_New(0);
        if (!outbox)
            return -1;
        ft_put(&OUT(stream)->outbox, outbox);
    }
    if (ft_append(outbox, Py_NewRef(octets)) < 0)
        return -1;
    return ft_add(&OUT(stream)->outbox_size, PyBytes_GET_SIZE(octets));
}

int turn_into_outbox(PyObject *stream, PyObject *octets)
{
    if (!PyBytes_CheckExact(octets)) {
        PyErr_Format(PyExc_TypeError, "encode() returned %.100s, not bytes", Py_TYPE(octets)->tp_name);
        return -1;
    }
    if (!PyBytes_GET_SIZE(octets))
        return 0;
    if (STREAM(stream)->layer == Py_None)
        return turn_append_to_outbox(stream, octets);
    PyObject *wire = through_layer(stream, octets);
    int status = !wire ? -1 : PyBytes_GET_SIZE(wire) ? turn_append_to_outbox(stream, wire) : 0;
    Py_XDECREF(wire);
    return status;
}

int turn_encode_early(PyObject *stream)
{
    if (PyList_GET_SIZE(OUT(stream)->pending) < 2 || outbox_size(stream))
        return 0;
    PyObject *octets = encode_pending(stream);
    if (!octets)
        return PyErr_Occurred() ? -1 : 0; /* Python tells which one cannot be encoded when they are sent */
    int status = turn_into_outbox(stream, octets);
    Py_DECREF(octets);
    return status;
}

int turn_take_value(PyObject *channel, PyObject *stream, PyObject *value)
{
    if (!is_served(channel, stream) || ends_stream(STREAM(stream)->framing))
        return PyList_Append(OUT(stream)->pending, value) < 0 ? -1 : ft_done(ft_call0(stream, str.commit));
    if (PyList_GET_SIZE(OUT(stream)->pending) && ft_done(ft_call0(stream, str.commit)) < 0)
        return -1;
    PyObject *framing = Py_NewRef(STREAM(stream)->framing);
    PyObject *octets = ft_call1(framing, str.encode, value);
    Py_DECREF(framing);
    int status = octets ? turn_into_outbox(stream, octets) : -1;
    if (!status)
        status = ft_add(&OUT(stream)->messages_out, 1);
    Py_XDECREF(octets);
    return status;
}

/* The most octets that one connection sends at a time: a fast peer must not delay the other connections. */
#define MOST_SENT (4 * 1024 * 1024)

/* Send octets that are not in the outbox; Python keeps those that the kernel does not take. */
static int send_octets(PyObject *channel, PyObject *stream, PyObject *octets, PyObject *now)
{
    Py_ssize_t size = PyBytes_GET_SIZE(octets), most = Py_MIN(size, MOST_SENT), taken = 0;
    bool failed = false;
    int fd = (int)PyLong_AsLong(CHANNEL(channel)->fd);
    /* Send until the kernel takes nothing, not just until it takes less than offered: acknowledgements that arrive
     * during send(2) make room only after it returns. A large reply then needs no further turn. */
    while (taken < most && !failed) {
        ssize_t more = syscall(SYS_sendto, fd, PyBytes_AS_STRING(octets) + taken, most - taken,
                               MSG_DONTWAIT | MSG_NOSIGNAL, NULL, (long)0);
        failed = more < 0;
        taken += failed ? 0 : more;
    }
    if (taken == size)
        return ft_add(&OUT(stream)->octets_out, size);
    if (failed && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return ft_add(&OUT(stream)->octets_out, taken) < 0 ? -1 : ft_hand_error(channel, str._write_failed);
    }
    return ft_done(PyObject_CallMethod(channel, "undersent", "OnO", octets, taken, now));
}

/* Send octets of the conversation that are not in the outbox, which is empty. */
static int send_through(PyObject *channel, PyObject *stream, PyObject *octets, PyObject *now)
{
    PyObject *wire = through_layer(stream, octets);
    int status = wire ? send_octets(channel, stream, wire, now) : -1;
    Py_XDECREF(wire);
    /* Else the layer has failed, or an encoder in Python has changed the stream. */
    bool goes_on = STREAM(stream)->layer == Py_None || is_layered(stream);
    return status || goes_on ? status : ft_done(ft_call0(channel, str.settle));
}

/* Empty the outbox; return its octets as one object, NULL with an exception. */
static PyObject *empty_outbox(PyObject *stream, PyObject *runner)
{
    PyObject *outbox = OUT(stream)->outbox;
    PyObject *octets = PyList_GET_SIZE(outbox) == 1 ? Py_NewRef(PyList_GET_ITEM(outbox, 0))
                                                    : ft_call1(turn_no_octets, str.join, outbox);
    /* Thousands of connections of a reply service may now become idle, and an empty list for each takes much memory. A
     * conversation is likely to use its list again. */
    PyObject *none = is_replying(runner) ? PyTuple_New(0) : Py_NewRef(outbox);
    if (!octets || !none || PyList_SetSlice(outbox, 0, PyList_GET_SIZE(outbox), NULL) < 0) {
        Py_XDECREF(none);
        Py_CLEAR(octets);
    }
    else {
        ft_put(&OUT(stream)->outbox_size, Py_NewRef(turn_zero));
        ft_put(&OUT(stream)->outbox, none);
    }
    return octets;
}

int turn_send_batch(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now)
{
    PyObject *octets = NULL;
    Py_ssize_t count = PyList_GET_SIZE(OUT(stream)->pending);
    int status = 0;
    if (count && !(octets = encode_pending(stream)))
        return PyErr_Occurred() ? -1 : ft_done(ft_call0(runner, str.carry_on));
    if (outbox_size(stream)) {
        if (octets && (status = turn_into_outbox(stream, octets)) < 0)
            status = ft_add(&OUT(stream)->messages_out, -count) < 0 ? -1 : turn_handler_failed(channel, runner);
        /* A part of the first chunk is already sent: only Python handles `_head`. */
        else if (PyLong_AsLong(OUT(stream)->_head))
            status = ft_done(ft_call0(channel, str.settle));
        else {
            Py_XSETREF(octets, empty_outbox(stream, runner));
            status = octets ? send_octets(channel, stream, octets, now) : -1;
        }
    }
    else if (octets) {
        status = send_through(channel, stream, octets, now);
    }
    Py_XDECREF(octets);
    return status;
}

/* send(channel, octets, now): send one encoded message now, if the connection is on the fast path and nothing waits.
 * Otherwise this returns False and has done nothing: the message has to go through the outbox. */
PyObject *turn_send(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "send() takes a Channel, bytes and a time");
        return NULL;
    }
    PyObject *channel = arguments[0], *stream = is_a(channel, turn_known.Channel) ? CHANNEL(channel)->stream : NULL;
    if (!stream || !is_served(channel, stream) || !is_written(stream))
        Py_RETURN_FALSE;
    Py_INCREF(stream);
    ft_put(&STREAM(stream)->last_activity, Py_NewRef(arguments[2]));
    int status = ft_add(&OUT(stream)->messages_out, 1);
    if (!status)
        status = send_through(channel, stream, arguments[1], arguments[2]);
    Py_DECREF(stream);
    return status < 0 ? NULL : Py_NewRef(Py_True);
}
