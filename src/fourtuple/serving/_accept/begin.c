/* How a connection on the fast path begins: accept(2), its name, its objects, its entry in the registry. */
#include "serving/_accept/accept.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

FT_BASE(TemplateFields, TEMPLATE_FIELDS, {Py_tp_doc, "The fields of a connection template; see fourtuple.serving.fields."})
FT_BASE(TotalsFields, TOTALS_FIELDS, {Py_tp_doc, "The fields of sums; see fourtuple.serving.fields."})
FT_BASE(RegistryFields, REGISTRY_FIELDS, {Py_tp_doc, "The fields of a registry; see fourtuple.serving.fields."})

struct accept_known accept_known;
struct accept_str accept_str;

#define KNOWN(name, base) {#name, &accept_known.name, base},
const Known accept_known_names[] = {ACCEPT_KNOWN(KNOWN){NULL, NULL, NULL}};

int accept_start(PyObject *module)
{
    static const char *const texts[] = {ACCEPT_NAMES(FT_TEXT)};
    turn_peer_ended = accept_peer_ended;
    if (turn_intern(&accept_str, texts, sizeof texts / sizeof *texts) < 0)
        return -1;
    return TemplateFields_add_to(module) < 0 || TotalsFields_add_to(module) < 0 ? -1 : RegistryFields_add_to(module);
}

PyObject *accept_record(PyObject *record, PyObject *const *fields)
{
    PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(record, 0);
    PyObject *made = type->tp_alloc(type, 0);
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(record); i++) {
        PyObject *slot = PyTuple_GET_ITEM(record, i), *value = fields[i - 1];
        if (!value || (made && Py_TYPE(slot)->tp_descr_set(slot, made, value) < 0))
            Py_CLEAR(made);
        Py_XDECREF(value);
    }
    return made;
}

/* Return a copy of an object that consists of fields only. */
static PyObject *copied(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *other = type->tp_alloc(type, 0);
    if (!other)
        return NULL;
    for (Py_ssize_t slot = sizeof(PyObject); slot < type->tp_basicsize; slot += sizeof(PyObject *)) {
        if (slot != type->tp_weaklistoffset)
            *(PyObject **)((char *)other + slot) = Py_XNewRef(*(PyObject **)((char *)object + slot));
    }
    return other;
}

int accept_count_address(PyObject *template, PyObject *name, int more)
{
    PyObject *by_address = TEMPLATE(template)->by_address, *ip = PyTuple_GET_ITEM(name, 2);
    PyObject *before = PyDict_GetItemWithError(by_address, ip);
    if (!before && PyErr_Occurred())
        return -1;
    Py_ssize_t count = (before ? PyLong_AsSsize_t(before) : 0) + more;
    if (count <= 0)
        return before ? PyDict_DelItem(by_address, ip) : 0;
    PyObject *after = PyLong_FromSsize_t(count);
    int status = after ? PyDict_SetItem(by_address, ip, after) : -1;
    Py_XDECREF(after);
    return status;
}

int accept_tell(PyObject *template, PyObject *event)
{
    PyObject *observer = Py_NewRef(TEMPLATE(template)->observer);
    int status = event ? ft_done(PyObject_CallOneArg(observer, event)) : -1;
    if (status < 0 && event && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *error = ft_caught();
        status = ft_done(PyObject_CallFunctionObjArgs(TEMPLATE(template)->on_deaf, event, error, NULL));
        Py_DECREF(error);
    }
    Py_DECREF(observer);
    Py_XDECREF(event);
    return status;
}

bool accept_without(PyObject *runner, PyObject *hook)
{
    PyObject *found = PyObject_GetAttr(CONSUMER(runner)->service, hook);
    if (!found)
        PyErr_Clear();
    Py_XDECREF(found);
    return found == Py_None;
}

/* Make the objects of a connection. Returns the runner, which refers to the others; steals nothing. */
static PyObject *take_in(PyObject *template, int fd, PyObject *name, PyObject *now)
{
    PyObject *new_decoder = Py_NewRef(TEMPLATE(template)->new_decoder); /* held: a decoder() may run any code */
    PyObject *stream = copied(TEMPLATE(template)->stream), *channel = copied(TEMPLATE(template)->channel),
             *runner = copied(TEMPLATE(template)->runner), *number = PyLong_FromLong(fd),
             *id = PyObject_CallNoArgs(TEMPLATE(template)->new_id),
             *decoder = PyObject_CallNoArgs(new_decoder), *pending = PyList_New(0);
    if (stream && channel && runner && number && id && decoder && pending) {
        ft_put(&STREAM(stream)->_name, Py_NewRef(name));
        ft_put(&IN(stream)->decoder, Py_NewRef(decoder));
        ft_put(&OUT(stream)->pending, Py_NewRef(pending));
        ft_put(&STREAM(stream)->opened, Py_NewRef(now));
        ft_put(&STREAM(stream)->last_activity, Py_NewRef(now));
        ft_put(&CHANNEL(channel)->stream, Py_NewRef(stream));
        ft_put(&CHANNEL(channel)->_socket, Py_NewRef(number));
        ft_put(&CHANNEL(channel)->fd, Py_NewRef(number));
        ft_put(&CHANNEL(channel)->id, Py_NewRef(id));
        ft_put(&CHANNEL(channel)->opened, Py_NewRef(now));
        ft_put(&CONSUMER(runner)->channel, Py_NewRef(channel));
        ft_put(&CONSUMER(runner)->stream, Py_NewRef(stream));
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

/* Enter the new connection into the registry, and report it. Steals `name`. */
static int enter(PyObject *template, PyObject *runner, PyObject *name)
{
    PyObject *registry = TEMPLATE(template)->registry, *runners = TEMPLATE(template)->runners;
    PyObject *id = CHANNEL(CONSUMER(runner)->channel)->id;
    int status = REGISTRY(registry)->_by_name == Py_None ? PyDict_SetItem(runners, id, runner)
                                                               : ft_done(ft_call1(registry, accept_str.enter, runner));
    if (!status && PyDict_GET_SIZE(runners) >= PyLong_AsSsize_t(TEMPLATE(template)->max_connections))
        status = ft_done(PyObject_CallNoArgs(TEMPLATE(template)->on_capacity_freed));
    if (!status)
        status = ft_add(&REGISTRY(registry)->accepted, 1);
    PyObject *fields[] = {Py_NewRef(id), name, Py_NewRef(Py_None)};
    PyObject *event = accept_record(accept_known.accepted, fields);
    if (!status)
        return accept_tell(template, event);
    Py_XDECREF(event);
    return -1;
}

/* Watch the socket for octets, and the deadlines, as Channel.start() does. */
static int begin(PyObject *template, PyObject *runner, PyObject *channel)
{
    ft_put(&CHANNEL(channel)->consumer, Py_NewRef(runner));
    PyObject *watchers = TEMPLATE(template)->watchers;
    if (ft_done(ft_call1(TEMPLATE(template)->engine, accept_str.add, channel)) < 0)
        return -1;
    if (PyLong_AsLong(CHANNEL(channel)->mask)) /* the observer began to watch it */
        return ft_done(ft_call0(channel, accept_str.update));
    PyObject *fd = CHANNEL(channel)->fd;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)PyLong_AsLong(fd)};
    if (PyDict_SetItem(watchers, fd, channel) < 0)
        return -1;
    if (epoll_ctl((int)PyLong_AsLong(TEMPLATE(template)->epoll), EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        PyObject *error = ft_caught();
        if (PyDict_DelItem(watchers, fd) < 0)
            PyErr_Clear();
        ft_raise(error);
        return -1;
    }
    ft_put(&CHANNEL(channel)->mask, PyLong_FromLong(EPOLLIN));
    return 0;
}

/* End a connection that could not begin. If that fails, too, the sweep finds it in the channels or the registry. */
static void end_failed(PyObject *template, PyObject *channel)
{
    PyObject *error = ft_caught();
    if (ft_done(ft_call1(channel, accept_str.on_failure, error)) < 0)
        PyErr_Clear();
    PyObject *sock = CHANNEL(channel)->_socket;
    if (sock != Py_None && PyDict_SetItem(TEMPLATE(template)->channels, channel, Py_None) < 0) {
        PyErr_Clear();
        if (PyLong_CheckExact(sock)) {
            int fd = (int)PyLong_AsLong(sock);
            ft_put(&CHANNEL(channel)->_socket, Py_NewRef(Py_None));
            close(fd);
        }
    }
    ft_raise(error);
}

/* Do what Acceptor.accept() does, for a connection on the fast path. Owns the descriptor. */
static int welcome(PyObject *template, int fd, PyObject *local, const struct sockaddr_storage *peer, PyObject *now)
{
    PyObject *octets = accept_packed(fd, local, peer), *name = octets ? accept_unpacked(octets) : NULL;
    int counted = name ? accept_count_address(template, name, 1) : -1;
    PyObject *runner = counted ? NULL : take_in(template, fd, octets, now);
    if (!runner) {
        PyObject *error = ft_caught();
        close(fd);
        if (!counted && accept_count_address(template, name, -1) < 0)
            PyErr_Clear();
        if (octets && ft_done(PyObject_CallFunctionObjArgs(TEMPLATE(template)->on_failed, octets, error, NULL)) < 0)
            PyErr_Clear();
        ft_raise(error);
        Py_XDECREF(octets);
        Py_XDECREF(name);
        return -1;
    }
    Py_DECREF(octets);
    PyObject *channel = Py_NewRef(CONSUMER(runner)->channel);
    int status = enter(template, runner, name);
    if (!status && CHANNEL(channel)->_socket != Py_None) /* None: the observer has ended it */
        status = begin(template, runner, channel);
    if (status < 0)
        end_failed(template, channel);
    Py_DECREF(channel);
    Py_DECREF(runner);
    return status;
}

/* accept_many(template, listener, most): accept connections on the fast path, at most `most`, until none is left, or
 * the listener is no longer watched.
 *
 * Returns the number of connections, and the errno of the accept(2) that failed, or 0. (0, 0) means that new connections
 * are not on the fast path now. */
PyObject *accept_many(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *template, *listener, *result = NULL;
    long most;
    if (!PyArg_ParseTuple(arguments, "O!Ol", accept_known.ConnectionTemplate, &template, &listener, &most))
        return NULL;
    PyObject *number = PyObject_GetAttr(listener, accept_str.fd);
    PyObject *local = number ? PyObject_GetAttr(listener, accept_str.local) : NULL;
    PyObject *now = local ? PyObject_GetAttr(TEMPLATE(template)->engine, str.now) : NULL;
    int code = 0;
    long taken = 0;
    while (now && taken < most && TEMPLATE(template)->runner != Py_None &&
           accept_without(TEMPLATE(template)->runner, accept_str.on_opened)) {
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
        PyObject *mask = PyObject_GetAttr(listener, accept_str.mask); /* the observer may have paused or closed it */
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
