/* Inbound: recv(2), the decoder, the inbox. */
#include "engine/_turn/turn.h"

#include <sys/ioctl.h>

/* One recv(2) directly into a large message takes up to this many times read_size: it is still one message. */
#define AT_ONCE 16

KnownLimits known_limits;
static PyObject *spare; /* a bytes object of read_size to read into; no other code has a reference to it */

int turn_know_limits(PyObject *limits)
{
    KnownLimits found = {.limits = limits, .sizes = PyObject_CallOneArg(turn_known.sizes_of, limits)};
    if (!found.sizes || !PyArg_ParseTuple(found.sizes, "nnn", &found.read_size, &found.max_batch, &found.high_water)) {
        Py_XDECREF(found.sizes);
        return -1;
    }
    if (known_limits.read_size != found.read_size)
        Py_CLEAR(spare);
    Py_XDECREF(known_limits.limits);
    Py_XDECREF(known_limits.sizes);
    Py_INCREF(limits);
    known_limits = found;
    return 0;
}

/* The number of octets that the decoder holds; -1 with an exception. */
static Py_ssize_t held(PyObject *decoder)
{
    if (splits(decoder))
        return split_buffered(decoder);
    PyObject *buffered = PyObject_GetAttr(decoder, str.buffered);
    Py_ssize_t size = buffered ? PyLong_AsSsize_t(buffered) : -1;
    Py_XDECREF(buffered);
    return size;
}

int turn_note_uncut(PyObject *stream)
{
    Py_ssize_t size = IN(stream)->message_since == Py_None ? held(IN(stream)->decoder) : 0;
    if (size > 0)
        ft_put(&STREAM(stream)->path, Py_NewRef(turn_known.SPECIAL));
    return size < 0 ? -1 : 0;
}

/* How many of the `lacks` missing octets of a large message one recv(2) should take. The octets in the kernel
 * (FIONREAD, tcp(7)) have really arrived, so allocating memory for them is safe against a peer that only announces a
 * size. */
static Py_ssize_t much_at_once(int fd, Py_ssize_t lacks)
{
    Py_ssize_t most = known_limits.read_size;
    int waiting;
    if (lacks > most && !ioctl(fd, FIONREAD, &waiting) && waiting > most)
        most = Py_MIN(waiting, AT_ONCE * known_limits.read_size);
    return Py_MIN(most, lacks);
}

/* The octets in the spare buffer, as an object. */
static PyObject *octets_read(ssize_t count)
{
    if (count <= SMALL)
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(spare), count);
    PyObject *octets = spare;
    spare = NULL;
    if (count < known_limits.read_size)
        _PyBytes_Resize(&octets, count);
    return octets;
}

/* Feed the decoder; the result is that of turn_read(). */
static PyObject *feed(PyObject *decoder, PyObject *octets, bool later)
{
    if (!splits(decoder)) {
        PyObject *arguments[] = {decoder, octets, PyTuple_GET_ITEM(known_limits.sizes, 1)};
        return PyObject_VectorcallMethod(str.feed, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    return later && split_hold(decoder, octets) ? NULL : split_feed(decoder, octets, known_limits.max_batch);
}

ssize_t turn_read(int fd, PyObject *stream, bool later, PyObject *now, PyObject **messages)
{
    PyObject *decoder = IN(stream)->decoder; /* the caller holds it */
    bool layered = STREAM(stream)->layer != Py_None;
    Py_ssize_t most = known_limits.read_size, lacks = splits(decoder) && !layered ? split_lacks(decoder) : 0;
    if (lacks > 0)
        most = much_at_once(fd, lacks);
    else if (!spare && !(spare = PyBytes_FromStringAndSize(NULL, most)))
        return -1;
    char *where = lacks > 0 ? split_place(decoder, most) : PyBytes_AS_STRING(spare);
    if (!where)
        return -1;
    ssize_t count = syscall(SYS_recvfrom, fd, where, most, MSG_DONTWAIT, NULL, NULL); /* see turn.h */
    if (count <= 0)
        return count;
    PyObject *octets = NULL;
    if (lacks <= 0 && !(octets = octets_read(count)))
        return count;
    if (layered) {
        Py_SETREF(octets, turn_decrypt(stream, octets, now));
        if (!octets || octets == Py_None) {
            *messages = octets;
            return count;
        }
    }
    ft_put(&STREAM(stream)->last_activity, Py_NewRef(now));
    if (!ft_add(&IN(stream)->octets_in, count))
        *messages = lacks > 0 ? split_arrived(decoder, count) : feed(decoder, octets, later);
    Py_XDECREF(octets);
    return count;
}

/* Note since when the peer is in the middle of a message, after `count` whole ones. -1 with an exception. */
static int note_begun(PyObject *stream, PyObject *decoder, Py_ssize_t count, PyObject *now)
{
    PyObject *since = IN(stream)->message_since;
    /* After a full batch it is unknown whether the held octets are whole messages: message_timeout does not run. */
    Py_ssize_t holding = count >= known_limits.max_batch ? 0 : count || since == Py_None ? held(decoder) : 1;
    if (holding < 0)
        return -1;
    if (!holding && since != Py_None)
        ft_put(&IN(stream)->message_since, Py_NewRef(Py_None));
    else if (holding && (count || since == Py_None))
        ft_put(&IN(stream)->message_since, Py_NewRef(now));
    return 0;
}

Py_ssize_t turn_fill_inbox(PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now)
{
    Py_ssize_t count = -1;
    if (!PyList_CheckExact(messages))
        PyErr_Format(PyExc_TypeError, "feed() returned %.100s, not a list", Py_TYPE(messages)->tp_name);
    else if (!know_limits_of(stream)) /* a decoder in Python may have let other threads run */
        count = PyList_GET_SIZE(messages);
    if (count < 0 || note_begun(stream, decoder, count, now) < 0 ||
        (count && ft_add(&IN(stream)->messages_in, count) < 0) || (count > 1 && PyList_Reverse(messages) < 0))
        count = -1;
    if (count > 0)
        ft_put(&IN(stream)->inbox, messages);
    else
        Py_DECREF(messages);
    return count;
}
