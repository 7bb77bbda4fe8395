/* An established layer of TLS: the methods of ssl's own C, called without any Python between them.
 *
 * Handled here are only a read that is exactly one record with octets of the conversation, and octets that fit into one
 * record. All else is left to Python: a part of a record, several records, an alert, a session ticket, a handshake, a
 * large message. Both use the same two buffers and the same session, so that each can go on after the other.
 *
 * These methods release the GIL: what belongs to no connection, such as known_limits, may have changed after them.
 */
#include "engine/_turn/turn.h"

#define HEAD 5           /* octets in front of a record: its type, the version, its length (RFC 8446, 5.1) */
#define MOST_PLAIN 16384 /* octets of the conversation in one record */

/* Whether octets are exactly one record. */
static bool is_record(PyObject *octets)
{
    const unsigned char *head = (const unsigned char *)PyBytes_AS_STRING(octets);
    Py_ssize_t size = PyBytes_GET_SIZE(octets);
    return size >= HEAD && size == HEAD + (head[3] << 8 | head[4]);
}

/* Give a record to the session, and read from it. */
static PyObject *read_record(LayerFields *layer, PyObject *record)
{
    if (ft_done(ft_call1(layer->_incoming, str.write, record)) < 0)
        return NULL;
    PyObject *room = PyLong_FromSsize_t(PyBytes_GET_SIZE(record)); /* more than it holds for the conversation */
    PyObject *plain = room ? ft_call1(layer->_session, str.read, room) : NULL;
    Py_XDECREF(room);
    return plain;
}

/* A record has given `plain`, or NULL and the exception that is set: Python goes on. */
static PyObject *go_on(PyObject *stream, PyObject *plain, Py_ssize_t size, PyObject *now)
{
    if (!plain && !PyErr_ExceptionMatches(PyExc_OSError)) /* ssl.SSLError is one */
        return NULL;
    PyObject *error = plain ? Py_NewRef(Py_None) : ft_caught();
    return PyObject_CallMethod(stream, "record_read", "OnNO", plain ? plain : turn_no_octets, size, error, now);
}

/* Let Python take octets of the wire. */
static PyObject *give_to_python(PyObject *stream, PyObject *octets, PyObject *now)
{
    PyObject *told[] = {stream, octets, now};
    PyObject *taken = PyObject_VectorcallMethod(str.received, told, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (taken)
        ft_put(&taken, Py_NewRef(Py_None));
    return taken;
}

PyObject *turn_decrypt(PyObject *stream, PyObject *octets, PyObject *now)
{
    if (LAYER(stream)->within != Py_False || !is_record(octets))
        return give_to_python(stream, octets, now);
    LayerFields *layer = (LayerFields *)Py_NewRef(STREAM(stream)->layer);
    PyObject *plain = read_record(layer, octets);
    /* A record of the conversation makes the session send nothing: what it answers, as an update of its keys, comes in
     * records of their own. */
    if (!plain || !PyBytes_CheckExact(plain) || !PyBytes_GET_SIZE(plain))
        Py_XSETREF(plain, go_on(stream, plain, PyBytes_GET_SIZE(octets), now));
    else if (know_limits_of(stream) < 0)
        Py_CLEAR(plain);
    Py_DECREF(layer);
    return plain;
}

PyObject *turn_encrypt(PyObject *stream, PyObject *octets)
{
    Py_ssize_t size = PyBytes_GET_SIZE(octets), taken = 0;
    if (!size)
        return Py_NewRef(octets);
    LayerFields *layer = (LayerFields *)Py_NewRef(STREAM(stream)->layer);
    PyObject *wire = NULL, *rest;
    if (size <= MOST_PLAIN) {
        PyObject *number = ft_call1(layer->_session, str.write, octets);
        taken = number ? PyLong_AsSsize_t(number) : 0;
        Py_XDECREF(number);
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OSError))
            PyErr_Clear(); /* Python gets it again, or waits for the peer's part of a handshake */
    }
    if (taken == size) {
        wire = ft_call0(layer->_outgoing, str.read);
    }
    else if (!PyErr_Occurred() && (rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(octets) + taken, size - taken))) {
        wire = ft_call1(stream, str.through, rest);
        Py_DECREF(rest);
    }
    Py_DECREF(layer);
    return wire;
}
