/* The way in: recv(2), the decoder, the inbox. */
#ifndef FOURTUPLE_TURN_IN_H
#define FOURTUPLE_TURN_IN_H

#include "calls.h"
#include "neighbours.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* A read this small is copied out of the spare buffer; a larger one takes the buffer itself. */
#define SMALL 4096

/* A recv(2) into the place of a large message takes up to so many times read_size: it is one message all the same. */
#define AT_ONCE 16

/* The Limits seen last, read: all connections of a server share one object. */
static struct {
    PyObject *limits;
    Py_ssize_t read_size, max_batch, high_water, max_outbox;
    PyObject *max_batch_object;
} known_limits;

static int
number(PyObject *object, const char *name, Py_ssize_t *value)
{
    PyObject *found = PyObject_GetAttrString(object, name);
    if (!found)
        return -1;
    *value = PyLong_AsSsize_t(found);
    Py_DECREF(found);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *spare; /* a bytes object of read_size, to read into: nobody else has seen it */

static int
know_limits(PyObject *limits)
{
    if (known_limits.limits == limits)
        return 0;
    Py_CLEAR(known_limits.limits);
    Py_ssize_t read_size, max_batch, high_water, max_outbox;
    if (number(limits, "read_size", &read_size) < 0 || number(limits, "max_batch", &max_batch) < 0 ||
        number(limits, "high_water", &high_water) < 0 || number(limits, "max_outbox", &max_outbox) < 0)
        return -1;
    PyObject *object = PyLong_FromSsize_t(max_batch);
    if (!object)
        return -1;
    if (known_limits.read_size != read_size)
        Py_CLEAR(spare);
    known_limits.read_size = read_size;
    known_limits.max_batch = max_batch;
    known_limits.high_water = high_water;
    known_limits.max_outbox = max_outbox;
    Py_XSETREF(known_limits.max_batch_object, object);
    known_limits.limits = Py_NewRef(limits);
    return 0;
}

/* Whether the decoder is one of C, which is asked without going by way of Python. */
static inline bool
splits(PyObject *decoder)
{
    return split && Py_IS_TYPE(decoder, split->decoder);
}

/* The octets that the decoder holds; -1 with an exception. */
static Py_ssize_t
held(PyObject *decoder)
{
    if (splits(decoder))
        return split->buffered(decoder);
    PyObject *buffered = PyObject_GetAttr(decoder, str_buffered);
    Py_ssize_t size = buffered ? PyLong_AsSsize_t(buffered) : -1;
    Py_XDECREF(buffered);
    return size;
}

/* Whether nothing waits to be delivered, and all that is read is for the decoder. */
static inline bool
quiet_in(PyObject *stream)
{
    PyObject *inbox = get(stream, stream_class.inbox);
    return get(stream, stream_class.requests) == Py_None && get(stream, stream_class.gap) == Py_None &&
           get(stream, stream_class.raw) == Py_None &&
           get(stream, stream_class.raw_mode) == Py_False && get(stream, stream_class.paused_at) == Py_None &&
           (PyList_CheckExact(inbox) || PyTuple_CheckExact(inbox)) && !Py_SIZE(inbox);
}

/* Whether what is held may be whole messages, behind a full batch: they come before another read. -1 with an exception. */
static inline int
uncut(PyObject *stream)
{
    if (get(stream, stream_class.message_since) != Py_None)
        return 0;
    Py_ssize_t size = held(get(stream, stream_class.decoder));
    return size < 0 ? -1 : size > 0;
}

/* How much one recv(2) is to take of the `lacks` octets that a large message lacks: what waits for it in the kernel has
 * come, whoever sent it, so room for it may be made at once. */
static Py_ssize_t
much_at_once(int fd, Py_ssize_t lacks)
{
    Py_ssize_t most = known_limits.read_size;
    int waiting;
    if (lacks > most && !ioctl(fd, FIONREAD, &waiting) && waiting > most)
        most = Py_MIN(waiting, AT_ONCE * known_limits.read_size);
    return Py_MIN(most, lacks);
}

/* Take what one read brings to the decoder: *messages as feed() returns them; NULL where it raised or, without an
 * exception, where the decoder holds the octets and feed() of none is to cut them `later`. Returns the number of octets;
 * 0 for the end of file, -1 for an error of the socket, with its exception or with none: there was nothing, or errno is
 * ECONNRESET, of which most often nobody has to be told by an exception. */
static ssize_t
read_messages(int fd, PyObject *decoder, bool later, PyObject **messages)
{
    char *where;
    Py_ssize_t most = known_limits.read_size, lacks = splits(decoder) ? split->lacks(decoder) : 0;
    if (lacks > 0) {
        most = much_at_once(fd, lacks);
        where = split->place(decoder, most);
    }
    else {
        if (!spare && !(spare = PyBytes_FromStringAndSize(NULL, most)))
            return -1;
        where = PyBytes_AS_STRING(spare);
    }
    if (!where)
        return -1;
    ssize_t count = recv(fd, where, most, MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNRESET)
        PyErr_SetFromErrno(PyExc_OSError);
    if (count <= 0)
        return count;
    if (lacks > 0) {
        *messages = split->arrived(decoder, count);
        return count;
    }
    PyObject *octets;
    if (count <= SMALL) {
        octets = PyBytes_FromStringAndSize(where, count);
    }
    else {
        octets = spare;
        spare = NULL;
        if (count < known_limits.read_size)
            _PyBytes_Resize(&octets, count);
    }
    if (!octets)
        return -1;
    if (splits(decoder)) {
        int held = later ? split->hold(decoder, octets) : 0;
        *messages = held ? NULL : split->feed(decoder, octets, known_limits.max_batch);
    }
    else {
        PyObject *arguments[] = {decoder, octets, known_limits.max_batch_object};
        *messages = PyObject_VectorcallMethod(str_feed, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    Py_DECREF(octets);
    return count;
}

/* Put what was read into the inbox. Returns the number of messages, -1 with an exception. Steals `messages`. */
static Py_ssize_t
fill_inbox(PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now)
{
    if (!PyList_CheckExact(messages)) {
        PyErr_Format(PyExc_TypeError, "feed() returned %.100s, not a list", Py_TYPE(messages)->tp_name);
        Py_DECREF(messages);
        return -1;
    }
    if (know_limits(get(stream, stream_class.limits)) < 0) { /* a decoder in Python has let others run */
        Py_DECREF(messages);
        return -1;
    }
    Py_ssize_t count = PyList_GET_SIZE(messages);
    PyObject *since = get(stream, stream_class.message_since);
    /* Behind a full batch nobody knows yet whether what is held is whole: then no clock of the peer runs. */
    Py_ssize_t holding = count >= known_limits.max_batch ? 0 : count || since == Py_None ? held(decoder) : 1;
    if (holding < 0) {
        Py_DECREF(messages);
        return -1;
    }
    if (!holding && since != Py_None)
        set(stream, stream_class.message_since, Py_NewRef(Py_None));
    else if (holding && (count || since == Py_None))
        set(stream, stream_class.message_since, Py_NewRef(now));
    if (!count) {
        Py_DECREF(messages);
        return 0;
    }
    if (add(stream, stream_class.messages_in, count) < 0 || (count > 1 && PyList_Reverse(messages) < 0)) {
        Py_DECREF(messages);
        return -1;
    }
    set(stream, stream_class.inbox, messages);
    return count;
}

#endif
