/* The async conversation in C: the turn resumes its task immediately, and everything that it sends until it waits again
 * leaves by one send(2). Its twins are Connection, Channel._consume() and AsyncConversation.readable(). */
#include "engine/_turn/turn.h"

#include <sys/epoll.h>

/* --- sending ------------------------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
} Done;

static PyObject *done_next(PyObject *Py_UNUSED(self))
{
    return NULL; /* without an exception: there is nothing to wait for */
}

FT_DEALLOC(Done, 0)
FT_OBJECT(Done, 0, 0,
          {Py_tp_doc, "Done()\n--\n\nAn awaitable with nothing to wait for: what send() returns while the peer keeps up."},
          {Py_tp_new, PyType_GenericNew}, {Py_am_await, PyObject_SelfIter}, {Py_tp_iter, PyObject_SelfIter},
          {Py_tp_iternext, done_next})

/* Encode a message into the outbox, on the fast path: 1, and the share of which it is a part; 0 if Connection.send() has
 * to do it, -1 with an exception. */
static int take_to_send(PyObject *connection, PyObject *message, Share **share)
{
    PyObject *stream = CONNECTION(connection)->_stream, *channel = CONNECTION(connection)->_channel;
    if (!PyBytes_CheckExact(message) || !is_a(stream, turn_known.Stream) || !is_a(channel, turn_known.Channel) ||
        OUT(stream)->writing != turn_known.OPEN || STREAM(stream)->layer != Py_None || !(*share = turn_share_here(channel)))
        return 0;
    PyObject *pending = OUT(stream)->pending;
    if (!PyList_CheckExact(pending) || PyList_GET_SIZE(pending))
        return 0;
    if (know_limits_of(stream) < 0)
        return -1;
    PyObject *splitter = turn_encoder_of(STREAM(stream)->framing);
    PyObject *octets = splitter ? split_encode_one(splitter, message) : Py_NewRef(Py_None);
    if (!octets)
        return -1;
    Py_ssize_t size = octets == Py_None ? 0 : PyBytes_GET_SIZE(octets); /* None: Python has to encode it */
    int status = 0;
    if (size && size < known_limits.high_water - outbox_size(stream)) {
        status = turn_append_to_outbox(stream, octets) < 0 || ft_add(&OUT(stream)->messages_out, 1) < 0 ? -1 : 1;
        if (status > 0 && CHANNEL(channel)->_dirty != Py_True && ft_done(ft_call0(channel, str.flush_soon)) < 0)
            status = -1;
    }
    Py_DECREF(octets);
    return status;
}

/* --- the methods of a connection ---------------------------------------------------------------------------------- */

/* These replace the methods of the same names in Python (connection.py), which handle all cases off the fast path. */

/* Call the method in Python with the same arguments as the one in C. */
static PyObject *ask_twin(PyObject *twin, PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    PyObject *method = PyObject_GetAttr(self, twin);
    PyObject *result = method ? PyObject_Vectorcall(method, arguments, count, names) : NULL;
    Py_XDECREF(method);
    return result;
}

static PyObject *connection_send(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static PyObject *nothing_to_wait_for; /* a Done */
    if (!nothing_to_wait_for && !(nothing_to_wait_for = PyObject_CallNoArgs((PyObject *)Done_type)))
        return NULL;
    Share *share = NULL;
    int taken = count == 1 && !names ? take_to_send(self, arguments[0], &share) : 0;
    if (taken < 0)
        return NULL;
    if (!taken)
        return ask_twin(str._twin_send, self, arguments, count, names);
    int over = spend(share);
    return over < 0 ? NULL : over ? ft_call0(self, str._others_first) : Py_NewRef(nothing_to_wait_for);
}

static PyObject *connection_receive(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    return !count && !names ? turn_reception(self, false) : ask_twin(str._twin_receive, self, arguments, count, names);
}

static PyObject *connection_aiter(PyObject *self, PyObject *Py_UNUSED(none))
{
    /* A subclass may have its own __anext__. */
    return is_a(self, turn_known.Connection) ? turn_reception(self, true) : Py_NewRef(self);
}

static PyMethodDef connection_methods[] = {
    {"__aiter__", (PyCFunction)connection_aiter, METH_NOARGS, NULL},
    {"receive", FT_FAST(connection_receive), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"send", FT_FAST(connection_send), METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

/* connection_method(name, text): return the method in C for the class Connection; text is its signature and docstring.
 * (As a method of the base type it would not be called as fast: the interpreter compares the object's class.) */
PyObject *turn_connection_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    const char *name;
    PyObject *text;
    if (!PyArg_ParseTuple(arguments, "sU", &name, &text))
        return NULL;
    for (PyMethodDef *method = connection_methods; method->ml_name && turn_known.Connection; method++) {
        if (strcmp(method->ml_name, name))
            continue;
        method->ml_doc = PyUnicode_AsUTF8(Py_NewRef(text)); /* the text stays forever */
        return method->ml_doc ? PyDescr_NewMethod((PyTypeObject *)turn_known.Connection, method) : NULL;
    }
    PyErr_SetString(PyExc_KeyError, name);
    return NULL;
}

/* --- the turn ----------------------------------------------------------------------------------------------------- */

int turn_settle_talk(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now)
{
    if (CHANNEL(channel)->_socket == Py_None || CHANNEL(channel)->detached != Py_False)
        return 0;
    PyObject *pending = OUT(stream)->pending;
    if (!is_served(channel, stream) || CHANNEL(channel)->_crowded != Py_False ||
        PyLong_AsLong(CHANNEL(channel)->mask) != EPOLLIN || PyLong_AsLong(OUT(stream)->_head) ||
        !PyList_CheckExact(pending) || PyList_GET_SIZE(pending))
        return ft_done(ft_call0(channel, str.settle));
    return turn_send_batch(channel, stream, runner, now);
}

int turn_talk(PyObject *channel, PyObject *runner)
{
    PyObject *receiver = receiver_of(CONSUMER(runner)->_connection);
    if (!receiver)
        return 0;
    /* Messages sent now are written in this turn, so flush_soon() has nothing to do. */
    ft_put(&CHANNEL(channel)->_dirty, Py_NewRef(Py_True));
    int status = turn_wake(receiver);
    if (status < 0 &&
        (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit)))
        status = ft_hand_error(runner, str.interrupted);
    ft_put(&CHANNEL(channel)->_dirty, Py_NewRef(Py_False));
    return status;
}
