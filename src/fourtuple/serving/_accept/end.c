/* How a connection on the fast path ends: by FIN or RST from the peer, when no work is pending. */
#include "serving/_accept/accept.h"

#include <sys/epoll.h>
#include <unistd.h>

/* Whether only the server's registry refers to this connection, and no work of it is pending. (If the template is
 * empty, there may be limits that count connections elsewhere than by address. Then Python ends the connection.) */
static bool ends_usually(PyObject *channel, PyObject *stream, PyObject *runner)
{
    PyObject *template = CHANNEL(channel)->on_end, *decoder = IN(stream)->decoder;
    return is_a(template, accept_known.ConnectionTemplate) && TEMPLATE(template)->draining == Py_False &&
           TEMPLATE(template)->runner != Py_None && replies(runner) && CONSUMER(runner)->_connection == Py_None &&
           PyLong_CheckExact(CHANNEL(channel)->_socket) && STREAM(stream)->_rare == Py_None && splits(decoder) &&
           !split->buffered(decoder) && accept_without(runner, accept_str.on_closed);
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

/* Resume accept if a listener pauses: a connection has ended. */
static int make_room(PyObject *template)
{
    PyObject *listeners = TEMPLATE(template)->listeners;
    for (Py_ssize_t i = 0; PyList_CheckExact(listeners) && i < PyList_GET_SIZE(listeners); i++) {
        PyObject *mask = PyObject_GetAttr(PyList_GET_ITEM(listeners, i), accept_str.mask);
        int watched = mask ? PyObject_IsTrue(mask) : -1;
        Py_XDECREF(mask);
        if (watched < 0)
            return -1;
        if (!watched)
            return ft_done(PyObject_CallNoArgs(TEMPLATE(template)->on_capacity_freed));
    }
    return 0;
}

/* Return the counters of a stream at its end. On the fast path the rare counters are 0, and no message waits. */
static PyObject *statistics_of(PyObject *stream)
{
    PyObject *fields[] = {
        Py_NewRef(IN(stream)->octets_in),     Py_NewRef(OUT(stream)->octets_out), Py_NewRef(IN(stream)->messages_in),
        Py_NewRef(OUT(stream)->messages_out), Py_NewRef(turn_zero),               Py_NewRef(turn_zero),
        Py_NewRef(turn_zero),                 Py_NewRef(turn_zero),
    };
    return accept_record(accept_known.statistics, fields);
}

/* A new sum and the field for it. put_sums() stores it when no step can fail any more. */
typedef struct {
    PyObject **place, *sum;
} Sum;

enum { SUMS = 5 };

static int add_up(Sum *sums, PyObject *registry, PyObject *stream, bool probe)
{
    TotalsFields *totals = TOTALS(REGISTRY(registry)->_ended);
    PyObject **places[SUMS] = {&totals->octets_in, &totals->octets_out, &totals->messages_in, &totals->messages_out,
                               &REGISTRY(registry)->probes};
    PyObject *more[SUMS] = {IN(stream)->octets_in, OUT(stream)->octets_out, IN(stream)->messages_in,
                            OUT(stream)->messages_out, probe ? Py_True : Py_False};
    int status = 0;
    for (int i = 0; i < SUMS; i++) {
        sums[i] = (Sum){places[i], status ? NULL : PyNumber_Add(*places[i], more[i])};
        status = sums[i].sum ? 0 : -1;
    }
    return status;
}

/* Store the sums in their fields, or drop them. */
static void put_sums(Sum *sums, bool drop)
{
    for (int i = 0; i < SUMS; i++) {
        if (drop)
            Py_CLEAR(sums[i].sum);
        else
            ft_put(sums[i].place, sums[i].sum);
    }
}

/* Do what Acceptor.ended() does. Allocations come first, so that a lack of memory leaves nothing half done. */
static int leave(PyObject *template, PyObject *channel, PyObject *stream, PyObject *reason, PyObject *now)
{
    PyObject *registry = TEMPLATE(template)->registry, *id = CHANNEL(channel)->id, *kept = STREAM(stream)->_name;
    bool probe = !PyLong_AsSsize_t(IN(stream)->octets_in) && !PyLong_AsSsize_t(OUT(stream)->octets_out);
    double seconds = PyFloat_AsDouble(now) - PyFloat_AsDouble(CHANNEL(channel)->opened);
    PyObject *name = PyBytes_CheckExact(kept) ? accept_unpacked(kept) : Py_NewRef(kept);
    PyObject *fields[] = {Py_NewRef(id), Py_XNewRef(name), Py_NewRef(reason), name ? statistics_of(stream) : NULL,
                          PyErr_Occurred() ? NULL : PyFloat_FromDouble(seconds), PyBool_FromLong(probe)};
    PyObject *event = accept_record(accept_known.closed, fields);
    Sum sums[SUMS];
    int status = event ? add_up(sums, registry, stream, probe) : -1;
    if (event && !status)
        status = REGISTRY(registry)->_by_name == Py_None ? PyDict_DelItem(TEMPLATE(template)->runners, id)
                                                        : ft_done(ft_call1(registry, accept_str.leave, id));
    if (event)
        put_sums(sums, status < 0);
    if (status < 0) {
        Py_XDECREF(name);
        Py_XDECREF(event);
        return -1;
    }
    PyObject *error = accept_count_address(template, name, -1) < 0 ? ft_caught() : NULL; /* the sweep counts again */
    Py_DECREF(name);
    status = accept_tell(template, event);
    if (!status)
        status = make_room(template);
    if (error && !status) {
        ft_raise(error);
        return -1;
    }
    Py_XDECREF(error);
    return status;
}

int accept_peer_ended(PyObject *channel, PyObject *stream, bool reset, PyObject *now)
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
