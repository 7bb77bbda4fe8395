/* How a usual connection ends: FIN or RST from the peer, and nothing is left to do. */
#ifndef FOURTUPLE_TURN_END_H
#define FOURTUPLE_TURN_END_H

#include "calls.h"
#include "in.h"
#include "life.h"
#include "names.h"
#include "neighbours.h"

#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whether nobody but the server's registry knows this connection, and nothing of it is unfinished. (With the template
 * empty there may be limits that count who is here in another place than by address.) */
static bool
ends_usually(PyObject *channel, PyObject *stream, PyObject *decoder, PyObject *runner)
{
    PyObject *template = get(channel, channel_class.on_end);
    if (!template_class.type || !Py_IS_TYPE(template, template_class.type) || get(template, template_class.draining) != Py_False ||
        get(template, template_class.runner) == Py_None || !Py_IS_TYPE(runner, replies_class.type) ||
        get(runner, replies_class.connection) != Py_None || !PyLong_CheckExact(get(channel, channel_class.socket)) ||
        get(stream, stream_class.rare) != Py_None || !splits(decoder) || split->buffered(decoder))
        return false;
    return without(runner, str_on_closed);
}

/* Unregister; the descriptor is closed at the end of the turn. */
static int
close_later(PyObject *template, PyObject *channel)
{
    PyObject *watchers = get(template, template_class.watchers), *fd = Py_NewRef(get(channel, channel_class.fd));
    int status = 0;
    if (!PyDict_CheckExact(watchers)) {
        PyObject *readiness = PyObject_GetAttr(get(template, template_class.engine), str_readiness);
        PyObject *nothing = PyLong_FromLong(0), *told[] = {readiness, channel, nothing};
        status = readiness && nothing ? done(PyObject_VectorcallMethod(str_watch, told,
                                                                       3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))
                                      : -1;
        Py_XDECREF(readiness);
        Py_XDECREF(nothing);
    }
    else if (PyLong_AsLong(get(channel, channel_class.mask))) {
        /* Explicitly, and before the close: see Nested.watch(). */
        epoll_ctl((int)PyLong_AsLong(get(template, template_class.epoll)), EPOLL_CTL_DEL, (int)PyLong_AsLong(fd), NULL);
        set(channel, channel_class.mask, PyLong_FromLong(0));
        status = PyDict_DelItem(watchers, fd);
    }
    if (!status)
        status = PyList_Append(get(template, template_class.to_close), fd);
    if (!status)
        set(channel, channel_class.socket, Py_NewRef(Py_None));
    Py_DECREF(fd);
    return status;
}

/* The counters of a stream at its end. */
static PyObject *
statistics_of(PyObject *stream)
{
    PyObject *statistics = blank(statistics_class.type);
    if (!statistics)
        return NULL;
    set(statistics, statistics_class.octets_in, Py_NewRef(get(stream, stream_class.octets_in)));
    set(statistics, statistics_class.octets_out, Py_NewRef(get(stream, stream_class.octets_out)));
    set(statistics, statistics_class.messages_in, Py_NewRef(get(stream, stream_class.messages_in)));
    set(statistics, statistics_class.messages_out, Py_NewRef(get(stream, stream_class.messages_out)));
    set(statistics, statistics_class.late_replies, PyLong_FromLong(0)); /* as nothing else that is rare: see above */
    set(statistics, statistics_class.inbox, PyLong_FromLong(0));
    set(statistics, statistics_class.outbox, PyLong_FromLong(0));
    set(statistics, statistics_class.discarded, PyLong_FromLong(0));
    return statistics;
}

/* What the end of a connection is added to: the sums, the new value of each. */
#define SUMS 5

typedef struct {
    PyObject *of;
    Slot to;
    PyObject *sum;
} Sum;

static void
drop_sums(Sum *sums)
{
    for (int i = 0; i < SUMS; i++)
        Py_CLEAR(sums[i].sum);
}

/* Add up, and change nothing yet. */
static int
add_up(Sum *sums, PyObject *registry, PyObject *stream, bool probe)
{
    PyObject *totals = get(registry, registry_class.ended);
    const Slot to[] = {totals_class.octets_in, totals_class.octets_out, totals_class.messages_in,
                       totals_class.messages_out},
               from[] = {stream_class.octets_in, stream_class.octets_out, stream_class.messages_in,
                         stream_class.messages_out};
    for (int i = 0; i < SUMS; i++) {
        bool last = i == SUMS - 1;
        sums[i] = (Sum){last ? registry : totals, last ? registry_class.probes : to[i], NULL};
    }
    for (int i = 0; i < SUMS; i++) {
        PyObject *more = i == SUMS - 1 ? (probe ? Py_True : Py_False) : get(stream, from[i]);
        sums[i].sum = PyNumber_Add(get(sums[i].of, sums[i].to), more);
        if (!sums[i].sum) {
            drop_sums(sums);
            return -1;
        }
    }
    return 0;
}

static void
put_sums(Sum *sums)
{
    for (int i = 0; i < SUMS; i++)
        set(sums[i].of, sums[i].to, sums[i].sum);
}

/* A place is free: whoever waits for one is let in. */
static int
make_room(PyObject *template)
{
    PyObject *listeners = get(template, template_class.listeners);
    for (Py_ssize_t i = 0; PyList_CheckExact(listeners) && i < PyList_GET_SIZE(listeners); i++) {
        PyObject *mask = PyObject_GetAttr(PyList_GET_ITEM(listeners, i), str_mask);
        int watched = mask ? PyObject_IsTrue(mask) : -1;
        Py_XDECREF(mask);
        if (watched < 0)
            return -1;
        if (!watched)
            return done(PyObject_CallNoArgs(get(template, template_class.on_capacity_freed)));
    }
    return 0;
}

/* What Acceptor.ended() does. */
static int
leave(PyObject *template, PyObject *channel, PyObject *stream, PyObject *reason, PyObject *now)
{
    PyObject *registry = get(template, template_class.registry), *id = get(channel, channel_class.id);
    PyObject *kept = get(stream, stream_class.name);
    PyObject *name = PyBytes_CheckExact(kept) ? unpacked(kept) : Py_NewRef(kept);
    if (!name)
        return -1;
    bool probe = !PyLong_AsSsize_t(get(stream, stream_class.octets_in)) &&
                 !PyLong_AsSsize_t(get(stream, stream_class.octets_out));
    PyObject *statistics = statistics_of(stream), *event = blank(closed_class.type);
    PyObject *seconds =
        PyFloat_FromDouble(PyFloat_AsDouble(now) - PyFloat_AsDouble(get(channel, channel_class.opened)));
    Sum sums[SUMS];
    /* What takes memory comes first, so that nothing is done by half where there is none. */
    int status = !statistics || !event || !seconds || PyErr_Occurred() ? -1 : add_up(sums, registry, stream, probe);
    if (!status) {
        status = get(registry, registry_class.by_name) == Py_None ? PyDict_DelItem(get(template, template_class.runners), id)
                                                               : done(call1(registry, str_leave, id));
        if (status)
            drop_sums(sums);
        else
            put_sums(sums);
    }
    if (status < 0) {
        Py_DECREF(name);
        Py_XDECREF(statistics);
        Py_XDECREF(seconds);
        Py_XDECREF(event);
        return -1;
    }
    set(event, closed_class.id, Py_NewRef(id));
    set(event, closed_class.name, name);
    set(event, closed_class.reason, Py_NewRef(reason));
    set(event, closed_class.statistics, statistics);
    set(event, closed_class.seconds, seconds);
    set(event, closed_class.probe, Py_NewRef(probe ? Py_True : Py_False));
    PyObject *error = count_address(template, name, -1) < 0 ? caught() : NULL; /* then the sweep counts anew */
    status = tell(template, event);
    if (!status)
        status = make_room(template);
    if (error && !status) {
        raise(error);
        status = -1;
    }
    Py_XDECREF(error);
    return status;
}

/* The peer has sent FIN, or RST, and nothing is left to do but to let it go. Returns 1 when that is done, 0 when Python
 * is to do it, -1 with an exception. */
static int
end(PyObject *channel, PyObject *stream, PyObject *decoder, bool reset, PyObject *now)
{
    PyObject *runner = get(channel, channel_class.consumer);
    if (!ends_usually(channel, stream, decoder, runner))
        return 0;
    PyObject *template = Py_NewRef(get(channel, channel_class.on_end)), *how = reset ? half_broken : half_ended;
    PyObject *reason = reset ? by_reset : by_the_peer;
    set(stream, stream_class.reading, Py_NewRef(how));
    set(stream, stream_class.writing, Py_NewRef(how));
    set(stream, stream_class.closing, Py_NewRef(Py_True));
    set(stream, stream_class.reason, Py_NewRef(reason));
    Py_INCREF(runner);
    if (!reset) /* and not by close() alone: a forked child may have the descriptor, too */
        shutdown((int)PyLong_AsLong(get(channel, channel_class.fd)), SHUT_WR);
    int status = close_later(template, channel);
    if (!status)
        status = leave(template, channel, stream, reason, now);
    /* Last of all: what has failed before, the sweep finds there. */
    if (!status)
        status = PyDict_DelItem(get(template, template_class.channels), channel);
    /* Nobody asks any more who consumed: without the circle both go at once, and not when the collector comes. */
    set(channel, channel_class.consumer, Py_NewRef(Py_None));
    set(channel, channel_class.inlined, Py_NewRef(Py_None));
    Py_DECREF(runner);
    Py_DECREF(template);
    return status < 0 ? -1 : 1;
}

PyDoc_STRVAR(close_last_doc, "close_last(to_close)\n--\n\n"
                             "Close the descriptors at the end of a list, from the last on, until one is an object.");

static PyObject *
close_last(PyObject *Py_UNUSED(module), PyObject *to_close)
{
    if (!PyList_CheckExact(to_close)) {
        PyErr_SetString(PyExc_TypeError, "close_last() takes a list");
        return NULL;
    }
    Py_ssize_t size = PyList_GET_SIZE(to_close), left = size;
    while (left && PyLong_CheckExact(PyList_GET_ITEM(to_close, left - 1))) {
        int fd = (int)PyLong_AsLong(PyList_GET_ITEM(to_close, --left));
        if (PyList_SetItem(to_close, left, PyLong_FromLong(-1)) < 0) /* no number is closed twice */
            return NULL;
        if (fd >= 0)
            close(fd);
    }
    return PyList_SetSlice(to_close, left, size, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

#endif
