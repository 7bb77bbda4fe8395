/* How a connection on the fast path ends: by FIN or RST from the peer, when no work is pending. */
#include "serving/_accept/accept.h"

#include <sys/epoll.h>
#include <unistd.h>

/* Whether the service has a `closed` hook; it may get one at any time. */
static bool is_told(PyObject *runner)
{
    PyObject *hook = PyObject_GetAttr(CONSUMER(runner)->service, str.on_closed);
    if (!hook)
        PyErr_Clear();
    Py_XDECREF(hook);
    return hook != Py_None;
}

/* Whether only the server's registry refers to this connection, and no work of it is pending. (If the template is
 * empty, there may be limits that count connections elsewhere than by address. Then Python ends the connection.) */
static bool ends_usually(PyObject *channel, PyObject *stream, PyObject *runner)
{
    PyObject *template = CHANNEL(channel)->on_end, *decoder = IN(stream)->decoder;
    return is_a(template, accept_known.ConnectionTemplate) && TEMPLATE(template)->draining == Py_False &&
           TEMPLATE(template)->runner != Py_None && replies(runner) && CONSUMER(runner)->_connection == Py_None &&
           PyLong_CheckExact(CHANNEL(channel)->_socket) && STREAM(stream)->_rare == Py_None && splits(decoder) &&
           !split_buffered(decoder) && !is_told(runner);
}

/* Unregister the descriptor; it is closed at the end of the turn. */
static int close_later(PyObject *template, PyObject *channel)
{
    PyObject *fd = Py_NewRef(CHANNEL(channel)->fd);
    int status = 0;
    if (PyLong_AsLong(CHANNEL(channel)->mask)) {
        /* Removed explicitly, and before the close: see Nested.watch(). */
        epoll_ctl((int)PyLong_AsLong(TEMPLATE(template)->epoll), EPOLL_CTL_DEL, (int)PyLong_AsLong(fd), NULL);
        ft_put(&CHANNEL(channel)->mask, PyLong_FromLong(0));
        status = PyDict_DelItem(TEMPLATE(template)->watchers, fd);
    }
    if (!status)
        status = PyList_Append(TEMPLATE(template)->to_close, fd);
    if (!status)
        ft_put(&CHANNEL(channel)->_socket, Py_NewRef(Py_None));
    Py_DECREF(fd);
    return status;
}

/* Return the counters of a stream at its end. On the fast path the rare counters are 0, no message waits, and the
 * decoder is one in C, which skips no octets. */
static PyObject *statistics_of(PyObject *stream)
{
    PyObject *fields[] = {
        IN(stream)->octets_in, OUT(stream)->octets_out, IN(stream)->messages_in, OUT(stream)->messages_out,
        turn_zero, turn_zero, turn_zero, turn_zero, turn_zero,
    };
    return accept_record(accept_known.statistics, fields);
}

/* Let the template do what Acceptor.ended() does. */
static int leave(PyObject *template, PyObject *channel, PyObject *stream, PyObject *reason, PyObject *now)
{
    PyObject *kept = STREAM(stream)->_name;
    bool probe = !PyLong_AsSsize_t(IN(stream)->octets_in) && !PyLong_AsSsize_t(OUT(stream)->octets_out);
    PyObject *name = PyBytes_CheckExact(kept) ? accept_unpacked(kept) : Py_NewRef(kept);
    PyObject *statistics = statistics_of(stream);
    PyObject *seconds = PyFloat_FromDouble(PyFloat_AsDouble(now) - PyFloat_AsDouble(CHANNEL(channel)->opened));
    PyObject *fields[] = {CHANNEL(channel)->id, name, reason, statistics, seconds, probe ? Py_True : Py_False};
    PyObject *event = name && statistics && seconds ? accept_record(accept_known.closed, fields) : NULL;
    PyObject *left[] = {template, event, event ? PyTuple_GET_ITEM(name, 2) : NULL};
    int status = -1;
    if (event)
        status = ft_done(PyObject_VectorcallMethod(str.leave, left, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    PyObject *made[] = {name, statistics, seconds, event};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        Py_XDECREF(made[i]);
    return status;
}

int turn_peer_ended(PyObject *channel, PyObject *stream, bool reset, PyObject *now)
{
    PyObject *runner = CHANNEL(channel)->consumer;
    if (!ends_usually(channel, stream, runner))
        return 0;
    PyObject *template = Py_NewRef(CHANNEL(channel)->on_end);
    PyObject *how = reset ? accept_known.BROKEN : accept_known.ENDED;
    PyObject *reason = reset ? accept_known.RESET : accept_known.PEER_CLOSED;
    ft_put(&IN(stream)->reading, Py_NewRef(how));
    ft_put(&OUT(stream)->writing, Py_NewRef(how));
    ft_put(&STREAM(stream)->closing, Py_NewRef(Py_True));
    ft_put(&STREAM(stream)->path, Py_NewRef(turn_known.SPECIAL));
    ft_put(&STREAM(stream)->reason, Py_NewRef(reason));
    Py_INCREF(runner);
    if (!reset) /* close() alone would send no FIN while a forked child has the descriptor, too */
        shutdown((int)PyLong_AsLong(CHANNEL(channel)->fd), SHUT_WR);
    int status = close_later(template, channel);
    if (!status)
        status = leave(template, channel, stream, reason, now);
    /* This comes last: if a step before it failed, the sweep finds the channel there. */
    if (!status)
        status = PyDict_DelItem(TEMPLATE(template)->channels, channel);
    /* The consumer is not needed any more. Without the reference cycle both are freed at once, not by the collector. */
    ft_put(&CHANNEL(channel)->consumer, Py_NewRef(Py_None));
    Py_DECREF(runner);
    Py_DECREF(template);
    return status < 0 ? -1 : 1;
}
