/* How a usual connection begins: accept(2), its name, the objects that it consists of, its place among the others. */
#ifndef FOURTUPLE_TURN_BEGIN_H
#define FOURTUPLE_TURN_BEGIN_H

#include "calls.h"
#include "life.h"
#include "names.h"
#include "neighbours.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Make all that a connection consists of. Returns the runner, which holds the rest; steals nothing. */
static PyObject *
take_in(PyObject *template, int fd, PyObject *name, PyObject *now)
{
    PyObject *new_decoder = Py_NewRef(get(template, template_class.new_decoder)); /* somebody's own may do anything */
    PyObject *stream = copy(get(template, template_class.stream)), *channel = copy(get(template, template_class.channel)),
             *runner = copy(get(template, template_class.runner)), *number = PyLong_FromLong(fd),
             *id = PyObject_CallNoArgs(get(template, template_class.new_id)),
             *decoder = PyObject_CallNoArgs(new_decoder), *pending = PyList_New(0);
    if (stream && channel && runner && number && id && decoder && pending) {
        set(stream, stream_class.name, Py_NewRef(name));
        set(stream, stream_class.decoder, Py_NewRef(decoder));
        set(stream, stream_class.pending, Py_NewRef(pending));
        set(stream, stream_class.opened, Py_NewRef(now));
        set(stream, stream_class.last_activity, Py_NewRef(now));
        set(channel, channel_class.stream, Py_NewRef(stream));
        set(channel, channel_class.socket, Py_NewRef(number));
        set(channel, channel_class.fd, Py_NewRef(number));
        set(channel, channel_class.id, Py_NewRef(id));
        set(channel, channel_class.opened, Py_NewRef(now));
        set(runner, replies_class.channel, Py_NewRef(channel));
        set(runner, replies_class.stream, Py_NewRef(stream));
    }
    else {
        Py_CLEAR(runner);
    }
    Py_DECREF(new_decoder);
    Py_XDECREF(stream);
    Py_XDECREF(channel);
    Py_XDECREF(number);
    Py_XDECREF(id);
    Py_XDECREF(decoder);
    Py_XDECREF(pending);
    return runner;
}

/* Enter the new connection among those who are here, and tell of it. Steals `name`. */
static int
enter(PyObject *template, PyObject *runner, PyObject *name)
{
    PyObject *registry = get(template, template_class.registry), *runners = get(template, template_class.runners);
    PyObject *id = get(get(runner, replies_class.channel), channel_class.id);
    int status = get(registry, registry_class.by_name) == Py_None ? PyDict_SetItem(runners, id, runner)
                                                               : done(call1(registry, str_enter, runner));
    if (!status && PyDict_GET_SIZE(runners) >= PyLong_AsSsize_t(get(template, template_class.max_connections)))
        status = done(PyObject_CallNoArgs(get(template, template_class.on_capacity_freed)));
    if (!status)
        status = add(registry, registry_class.accepted, 1);
    PyObject *event = status ? NULL : blank(accepted_class.type);
    if (!event) {
        Py_DECREF(name);
        return -1;
    }
    set(event, accepted_class.id, Py_NewRef(id));
    set(event, accepted_class.name, name);
    set(event, accepted_class.transport, Py_NewRef(Py_None));
    return tell(template, event);
}

/* Watch for octets, and over the deadlines: Channel.start(). */
static int
begin(PyObject *template, PyObject *runner, PyObject *channel)
{
    set(channel, channel_class.consumer, Py_NewRef(runner));
    set(channel, channel_class.inlined, Py_NewRef(runner));
    PyObject *engine = get(template, template_class.engine), *watchers = get(template, template_class.watchers);
    PyObject *sweeper = PyObject_GetAttr(engine, str_sweeper);
    int status = !sweeper             ? -1
                 : sweeper == Py_None ? done(call1(engine, str_add, channel))
                                      : PyDict_SetItem(get(template, template_class.channels), channel, Py_None);
    Py_XDECREF(sweeper);
    if (status < 0)
        return -1;
    if (!PyDict_CheckExact(watchers) || PyLong_AsLong(get(channel, channel_class.mask)))
        return done(call0(channel, str_update)); /* or the observer has had it watched already */
    PyObject *fd = get(channel, channel_class.fd);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)PyLong_AsLong(fd)};
    if (PyDict_SetItem(watchers, fd, channel) < 0)
        return -1;
    if (epoll_ctl((int)PyLong_AsLong(get(template, template_class.epoll)), EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        PyObject *error = caught();
        if (PyDict_DelItem(watchers, fd) < 0)
            PyErr_Clear();
        raise(error);
        Py_DECREF(error);
        return -1;
    }
    set(channel, channel_class.mask, PyLong_FromLong(EPOLLIN));
    return 0;
}

/* It could not begin: end it. Where that fails, too, the sweep finds it among the channels, or by the registry. */
static void
end_failed(PyObject *template, PyObject *channel)
{
    PyObject *error = caught();
    if (done(call1(channel, str_on_failure, error)) < 0)
        PyErr_Clear();
    PyObject *sock = get(channel, channel_class.socket);
    if (sock != Py_None && PyDict_SetItem(get(template, template_class.channels), channel, Py_None) < 0) {
        PyErr_Clear();
        if (PyLong_CheckExact(sock)) {
            int fd = (int)PyLong_AsLong(sock);
            set(channel, channel_class.socket, Py_NewRef(Py_None));
            close(fd);
        }
    }
    raise(error);
    Py_DECREF(error);
}

/* What Acceptor.accept() does with a connection that is usual. Owns the descriptor. */
static int
welcome(PyObject *template, int fd, PyObject *local, const struct sockaddr_storage *peer, PyObject *now)
{
    PyObject *octets = packed(fd, local, peer), *name = octets ? unpacked(octets) : NULL;
    int counted = name ? count_address(template, name, 1) : -1;
    PyObject *runner = counted ? NULL : take_in(template, fd, octets, now);
    if (!runner) {
        PyObject *error = caught();
        close(fd);
        if (!counted && count_address(template, name, -1) < 0)
            PyErr_Clear();
        if (octets && done(PyObject_CallFunctionObjArgs(get(template, template_class.on_failed), octets, error, NULL)) < 0)
            PyErr_Clear();
        raise(error);
        Py_DECREF(error);
        Py_XDECREF(octets);
        Py_XDECREF(name);
        return -1;
    }
    Py_DECREF(octets);
    PyObject *channel = Py_NewRef(get(runner, replies_class.channel));
    int status = enter(template, runner, name);
    if (!status && get(channel, channel_class.socket) != Py_None) /* else the observer has ended it */
        status = begin(template, runner, channel);
    if (status < 0)
        end_failed(template, channel);
    Py_DECREF(channel);
    Py_DECREF(runner);
    return status;
}

PyDoc_STRVAR(accept_many_doc,
             "accept_many(template, listener, most)\n--\n\n"
             "Accept usual connections: at most so many, until there is none, and while the listener is watched.\n\n"
             "Returns how many there were, and the errno of the accept(2) that failed then, or 0.\n"
             "(0, 0) says that connections are not usual now.");

static PyObject *
accept_many(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !template_class.type || !Py_IS_TYPE(arguments[0], template_class.type)) {
        PyErr_SetString(PyExc_TypeError, "accept_many() takes a ConnectionTemplate, a Listener and a number");
        return NULL;
    }
    PyObject *template = arguments[0], *listener = arguments[1];
    long most = PyLong_AsLong(arguments[2]);
    PyObject *number = PyErr_Occurred() ? NULL : PyObject_GetAttr(listener, str_fd);
    PyObject *local = number ? PyObject_GetAttr(listener, str_local) : NULL;
    PyObject *now = local ? PyObject_GetAttr(get(template, template_class.engine), str_now) : NULL, *result = NULL;
    int code = 0;
    long taken = 0;
    while (now && taken < most && get(template, template_class.runner) != Py_None &&
           without(get(template, template_class.runner), str_on_opened)) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4((int)PyLong_AsLong(number), (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR && !PyErr_CheckSignals())
                continue;
            code = errno;
            break;
        }
        taken++;
        if (welcome(template, fd, local, &peer, now) < 0)
            break;
        PyObject *mask = PyObject_GetAttr(listener, str_mask); /* whoever was told may have paused, or closed */
        bool watched = mask && PyObject_IsTrue(mask) == 1;
        Py_XDECREF(mask);
        if (!watched)
            break;
    }
    if (!PyErr_Occurred())
        result = Py_BuildValue("(li)", taken, code);
    Py_XDECREF(number);
    Py_XDECREF(local);
    Py_XDECREF(now);
    return result;
}

#endif
