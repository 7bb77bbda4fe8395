/* How a connection on the fast path begins: accept(2), its objects, its place in the epoll set. */
#include "serving/_accept/accept.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

FT_BASE(TemplateFields, TEMPLATE_FIELDS,
        {Py_tp_doc, "The fields of a connection template; see fourtuple.serving.fields."})

struct accept_known accept_known;

PyObject *accept_record(PyObject *record, PyObject *const *fields)
{
    PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(record, 0);
    PyObject *made = type->tp_alloc(type, 0);
    /* A slot's descriptor would do it in ten times as long: a frozen dataclass has only slots that are objects. */
    for (Py_ssize_t i = 1; made && i < PyTuple_GET_SIZE(record); i++) {
        Py_ssize_t offset = ((PyMemberDescrObject *)PyTuple_GET_ITEM(record, i))->d_member->offset;
        *(PyObject **)((char *)made + offset) = Py_NewRef(fields[i - 1]);
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

/* Make the objects of a connection, and enter it into the engine. Returns the runner, which refers to the others;
 * steals nothing. */
static PyObject *take_in(PyObject *template, int fd, PyObject *name, PyObject *now)
{
    PyObject *new_decoder = Py_NewRef(TEMPLATE(template)->new_decoder); /* held: a decoder() may run any code */
    PyObject *stream = copied(TEMPLATE(template)->stream), *channel = copied(TEMPLATE(template)->channel),
             *runner = copied(TEMPLATE(template)->runner), *number = PyLong_FromLong(fd),
             *id = PyObject_CallNoArgs(TEMPLATE(template)->new_id),
             *decoder = PyObject_CallNoArgs(new_decoder), *pending = PyList_New(0);
    if (stream && channel && runner && number && id && decoder && pending &&
        !PyDict_SetItem(TEMPLATE(template)->channels, channel, Py_None)) {
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
    PyObject *all[] = {new_decoder, stream, channel, number, id, decoder, pending};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        Py_XDECREF(all[i]);
    return runner;
}

/* Let the template enter the new connection into the registry, and report it. */
static int enter(PyObject *template, PyObject *runner, PyObject *name)
{
    PyObject *fields[] = {CHANNEL(CONSUMER(runner)->channel)->id, name, Py_None};
    PyObject *event = accept_record(accept_known.accepted, fields);
    PyObject *entered[] = {template, runner, event, PyTuple_GET_ITEM(name, 2)};
    int status = -1;
    if (event)
        status = ft_done(PyObject_VectorcallMethod(str.enter, entered, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    Py_XDECREF(event);
    return status;
}

/* Watch the socket for octets, as Channel.start() does. */
static int begin(PyObject *template, PyObject *runner, PyObject *channel)
{
    ft_put(&CHANNEL(channel)->consumer, Py_NewRef(runner));
    PyObject *fd = CHANNEL(channel)->fd;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)PyLong_AsLong(fd)};
    if (!PyLong_AsLong(CHANNEL(channel)->mask)) {
        if (PyDict_SetItem(TEMPLATE(template)->watchers, fd, channel) < 0)
            return -1;
        if (!epoll_ctl((int)PyLong_AsLong(TEMPLATE(template)->epoll), EPOLL_CTL_ADD, event.data.fd, &event)) {
            ft_put(&CHANNEL(channel)->mask, PyLong_FromLong(EPOLLIN));
            return 0;
        }
    }
    return ft_done(ft_call0(channel, str.update)); /* the observer began to watch it, or the kernel cannot */
}

/* Call a function with what could not begin and the exception that is set, which stays set. */
static int tell_failed(PyObject *function, PyObject *what)
{
    PyObject *error = ft_caught();
    if (ft_done(PyObject_CallFunctionObjArgs(function, what, error, NULL)) < 0)
        PyErr_Clear(); /* a channel is in the engine: the sweep ends it */
    ft_raise(error);
    return -1;
}

/* Do what Acceptor.accept() does, for a connection on the fast path. Owns the descriptor. */
static int welcome(PyObject *template, int fd, PyObject *local, const struct sockaddr_storage *peer, PyObject *now)
{
    PyObject *octets = accept_packed(fd, local, peer), *name = octets ? accept_unpacked(octets) : NULL;
    PyObject *runner = name ? take_in(template, fd, octets, now) : NULL;
    int status = -1;
    if (runner) {
        PyObject *channel = Py_NewRef(CONSUMER(runner)->channel);
        status = enter(template, runner, name);
        if (!status && CHANNEL(channel)->_socket != Py_None) /* None: the observer has ended it */
            status = begin(template, runner, channel);
        if (status < 0)
            status = tell_failed(TEMPLATE(template)->on_failed, channel);
        Py_DECREF(channel);
    }
    else {
        close(fd);
        tell_failed(TEMPLATE(template)->on_failed, name ? name : Py_None);
    }
    Py_XDECREF(octets);
    Py_XDECREF(name);
    Py_XDECREF(runner);
    return status;
}

/* accept_one(template, fd, local, now): accept a connection on the fast path. `local` is the packed address of the
 * listener, or None. Returns 0, or the errno of accept(2). */
PyObject *accept_one(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 4 || !is_a(arguments[0], accept_known.ConnectionTemplate) || !PyLong_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError,
                        "accept_one() takes a ConnectionTemplate, a descriptor, an address and a time");
        return NULL;
    }
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int listener = (int)PyLong_AsLong(arguments[1]);
    int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 && welcome(arguments[0], fd, arguments[2], &peer, arguments[3]) < 0)
        return NULL;
    return PyLong_FromLong(fd < 0 ? errno : 0);
}
