/* The usual turn of a connection, in C: recv, split, call the handler, encode, send.
 *
 * It works on the same Python objects as its twin in channel.py and drivers/inline.py, by the offsets of their
 * __slots__, and does only what is usual: readable, no layer, open in both directions, nothing waiting in inbox or
 * outbox. Whatever else it meets (end of file, an error, a handler that closes, a send that is cut short) it hands
 * over to the Python that stands beside it, with every object in the state that Python would have left.
 *
 * The system calls do not wait, and keep the GIL on purpose: to release it beside one thread that computes cost
 * 80 % of the throughput (whoever gives it up gets it back 5 ms later).
 */

#define PY_SSIZE_T_CLEAN

#include "_turn_calls.h"
#include "_turn_in.h"
#include "_turn_life.h"
#include "_turn_neighbours.h"
#include "_turn_out.h"
#include "_turn_talk.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>

#define STAMP 7 /* see compiled.py: raised when this file and its Python neighbours change what they tell each other */

/* ------------------------------------------------------------------------------------------------- the turn */

/* Whether all is as usual: then what follows need not look again until Python code has run. */
static inline bool
usual(PyObject *channel, PyObject *stream)
{
    return get(stream, stream_class.layer) == Py_None && get(stream, stream_class.reading) == half_open &&
           get(stream, stream_class.writing) == half_open && get(stream, stream_class.closing) == Py_False &&
           get(stream, stream_class.read_error) == Py_None && get(channel, channel_class.socket) != Py_None &&
           get(channel, channel_class.lent) == Py_False;
}

/* Send what a batch came to: the outbox, where something stands there, and the pending replies behind it. */
static int
send_batch(PyObject *channel, PyObject *stream, PyObject *driver, PyObject *now)
{
    PyObject *pending = get(stream, stream_class.pending), *octets;
    if (PyList_GET_SIZE(pending)) {
        Py_INCREF(pending);
        octets = encode_pending(stream, pending);
        Py_DECREF(pending);
        if (!octets)
            return PyErr_Occurred() ? -1 : done(call0(driver, str_carry_on));
        if (PyLong_AsSsize_t(get(stream, stream_class.outbox_size))) {
            int status = into_outbox(stream, octets);
            Py_DECREF(octets);
            if (status < 0)
                return -1;
            octets = NULL;
        }
    }
    else if (PyLong_AsSsize_t(get(stream, stream_class.outbox_size))) {
        octets = NULL;
    }
    else {
        return 0; /* nobody replied */
    }
    if (!octets) {
        PyObject *outbox = get(stream, stream_class.outbox);
        octets = call1(no_octets, str_join, outbox);
        PyObject *nothing = octets ? PyLong_FromLong(0) : NULL;
        if (!nothing || PyList_SetSlice(outbox, 0, PyList_GET_SIZE(outbox), NULL) < 0) {
            Py_XDECREF(octets);
            Py_XDECREF(nothing);
            return -1;
        }
        set(stream, stream_class.outbox_size, nothing);
    }
    int status = send_octets(channel, stream, octets, now);
    Py_DECREF(octets);
    return status;
}

/* Call the handler for the messages of the inbox while the replies are octets, which wait in stream.pending, and there
 * is room for them. `*unusual` is the reply that is something else. A handler that closes, or changes the framing, of
 * its own connection empties the inbox in place: then this ends, too. */
static int
run_handler(PyObject *stream, PyObject *inbox, PyObject *handle, Py_ssize_t *room, PyObject **unusual)
{
    *unusual = NULL;
    while (*room > 0 && PyList_GET_SIZE(inbox)) {
        /* The last one, as list.pop() takes it. */
        Py_ssize_t last = PyList_GET_SIZE(inbox) - 1;
        PyObject *message = PyList_GET_ITEM(inbox, last);
        if (Py_IS_TYPE(message, replies_class.unmapped))
            return 0;
        Py_SET_SIZE(inbox, last);
        PyObject *answer = PyObject_CallOneArg(handle, message);
        Py_DECREF(message);
        if (!answer)
            return -1;
        if (PyBytes_Check(answer)) {
            /* Not the list of a moment ago: a handler that sends has it encoded, and the next one takes its place. */
            PyObject *pending = get(stream, stream_class.pending);
            *room -= PyBytes_GET_SIZE(answer);
            if (PyList_Append(pending, answer) < 0) {
                Py_DECREF(answer);
                return -1;
            }
        }
        else if (answer != Py_None) {
            *unusual = answer;
            return 0;
        }
        Py_DECREF(answer);
    }
    return 0;
}

/* Call the handler for every message of the inbox, and send what it replies. */
static int
reply(PyObject *channel, PyObject *stream, PyObject *driver, PyObject *decoder, PyObject *now)
{
    PyObject *inbox = Py_NewRef(get(stream, stream_class.inbox));
    PyObject *handle = Py_NewRef(get(driver, replies_class.handle));
    bool full = PyList_GET_SIZE(inbox) >= known_limits.max_batch, last_words = false;
    Py_ssize_t room = known_limits.high_water;
    PyObject *unusual;
    int status;

    while (!(status = run_handler(stream, inbox, handle, &room, &unusual)) && unusual && !last_words) {
        last_words = Py_IS_TYPE(unusual, replies_class.last);
        if (last_words)
            status = done(call1(driver, str_say, unusual));
        else if (usual(channel, stream))
            status = take_value(stream, unusual);
        Py_DECREF(unusual);
        if (status < 0)
            break;
        Py_ssize_t waiting = PyLong_AsSsize_t(get(stream, stream_class.outbox_size));
        if (room > known_limits.high_water - waiting)
            room = known_limits.high_water - waiting;
    }
    if (status < 0) {
        status = hand_error(driver, str_failed);
        if (!status)
            status = done(call0(channel, str_consume));
        goto end;
    }
    /* The handler may have done anything: to its own connection, too. */
    if (room <= 0 || last_words || PyList_GET_SIZE(get(stream, stream_class.inbox)) || !usual(channel, stream)) {
        status = done(call0(driver, str_carry_on));
        goto end;
    }
    /* All octets of the batch are delivered: none need be kept. */
    if (get(stream, stream_class.decoder) == decoder)
        status = splits(decoder) ? split->settle(decoder) : done(call0(decoder, str_settle));
    if (!status)
        status = send_batch(channel, stream, driver, now);
    if (!status && full)
        status = done(call0(driver, str_revisit));
end:
    Py_DECREF(inbox);
    Py_DECREF(handle);
    return status;
}

/* Returns 1 when the channel was served, 0 when Python is to serve it, -1 with an exception. */
static int
serve_channel(PyObject *channel, PyObject *now)
{
    PyObject *stream = get(channel, channel_class.stream);
    if (!Py_IS_TYPE(stream, stream_class.type) || !usual(channel, stream) || !quiet_in(stream) ||
        !quiet_out(stream) ||
        know_limits(get(stream, stream_class.limits)) < 0)
        return PyErr_Occurred() ? -1 : 0;

    PyObject *messages = NULL, *decoder = Py_NewRef(get(stream, stream_class.decoder));
    Py_INCREF(stream);
    int status = -1;
    ssize_t size = read_messages((int)PyLong_AsLong(get(channel, channel_class.fd)), decoder, &messages);
    if (size < 0) {
        if (!PyErr_Occurred() && errno == ECONNRESET) {
            status = end(channel, stream, decoder, true, now);
            if (status)
                goto end;
            errno = ECONNRESET;
            PyErr_SetFromErrno(PyExc_OSError);
        }
        if (!PyErr_Occurred())
            status = 0; /* nothing to be read */
        else if (PyErr_ExceptionMatches(PyExc_OSError))
            status = hand_error(channel, str_broken);
        goto end;
    }
    if (!size) {
        status = end(channel, stream, decoder, false, now);
        if (!status)
            status = done(call1(channel, str_took, no_octets));
        goto end;
    }
    PyObject *error = messages ? NULL : caught();
    set(stream, stream_class.last_activity, Py_NewRef(now));
    if (add(stream, stream_class.octets_in, size) < 0) {
        Py_XDECREF(messages);
        Py_XDECREF(error);
        goto end;
    }
    if (!messages) {
        if (PyObject_IsInstance(error, message_error) == 1)
            status = done(call1(stream, str_message_error, error));
        else
            raise(error);
        Py_DECREF(error);
        if (!status)
            status = done(call0(channel, str_consume));
        goto end;
    }
    Py_ssize_t count = fill_inbox(stream, decoder, messages, now);
    if (count < 0)
        goto end;
    status = 0;
    PyObject *consumer = Py_NewRef(get(channel, channel_class.consumer));
    bool replies = replies_class.type && Py_IS_TYPE(consumer, replies_class.type);
    if (!replies && !talks(consumer))
        status = done(call0(channel, str_consume)); /* with half a message, too: a thread is lent at the first octet */
    else if (count)
        status = replies ? reply(channel, stream, consumer, decoder, now) : talk(channel, stream, consumer, now);
    Py_DECREF(consumer);
end:
    Py_DECREF(decoder);
    Py_DECREF(stream);
    return status < 0 ? -1 : 1;
}

/* -------------------------------------------------------------------------------------------- many in one go */

#define MOST_EVENTS 1024 /* of one epoll_wait(2) */

PyDoc_STRVAR(poll_doc, "poll(epoll_fd, watchers, most)\n--\n\n"
                       "Look into an epoll set, without waiting: a list of (watcher, events) for the descriptors that are\n"
                       "in the dict of watchers. Raises OSError.");

static PyObject *
poll_watchers(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyDict_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "poll() takes a descriptor, a dict and a number");
        return NULL;
    }
    int epoll_fd = (int)PyLong_AsLong(arguments[0]);
    long most = PyLong_AsLong(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    struct epoll_event found[MOST_EVENTS];
    int ready = epoll_wait(epoll_fd, found, most < MOST_EVENTS ? (int)most : MOST_EVENTS, 0);
    if (ready < 0 && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < ready; i++) {
        PyObject *fd = PyLong_FromLong(found[i].data.fd);
        PyObject *watcher = fd ? PyDict_GetItemWithError(arguments[1], fd) : NULL;
        Py_XDECREF(fd);
        if (!watcher && !PyErr_Occurred())
            continue; /* forgotten since */
        PyObject *pair = watcher ? Py_BuildValue("(Ok)", watcher, (unsigned long)found[i].events) : NULL;
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static double
seconds_now(void)
{
    struct timespec now; /* the clock of time.monotonic() */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whether recv(2) tells all that these events mean: octets, an end of file or an error. */
static inline bool
only_to_read(long events)
{
    return (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !(events & ~(EPOLLIN | EPOLLERR | EPOLLHUP));
}

PyDoc_STRVAR(serve_many_doc,
             "serve_many(engine, ready, first, most, end, slow)\n--\n\n"
             "Serve the usual events of ready[first:most] until one is not usual, or time.monotonic() is past `end`.\n\n"
             "Returns how many of `ready` are done with. What raises goes to engine._failed(watcher, error); who took\n"
             "more than `slow` seconds, to engine._slow(watcher, seconds).");

static PyObject *
serve_many(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 6 || !PyList_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "serve_many() takes an engine, a list and four numbers");
        return NULL;
    }
    PyObject *engine = arguments[0], *ready = arguments[1];
    Py_ssize_t at = PyLong_AsSsize_t(arguments[2]), most = PyLong_AsSsize_t(arguments[3]);
    double end = PyFloat_AsDouble(arguments[4]), slow = PyFloat_AsDouble(arguments[5]);
    PyObject *now = PyErr_Occurred() ? NULL : PyObject_GetAttr(engine, str_now);
    if (!now)
        return NULL;
    double before = seconds_now();
    while (at < most && at < PyList_GET_SIZE(ready)) {
        PyObject *pair = PyList_GET_ITEM(ready, at);
        PyObject *watcher = PyTuple_GET_ITEM(pair, 0);
        if (!Py_IS_TYPE(watcher, channel_class.type) || !only_to_read(PyLong_AsLong(PyTuple_GET_ITEM(pair, 1))) ||
            PyLong_AsLong(get(watcher, channel_class.mask)) == 0)
            break;
        Py_INCREF(watcher);
        int served = serve_channel(watcher, now);
        if (served < 0) {
            PyObject *error = caught();
            PyObject *told[] = {engine, watcher, error};
            served = done(PyObject_VectorcallMethod(str_failed, told, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)) < 0
                         ? -1
                         : 1;
            Py_XDECREF(error);
        }
        double after = seconds_now();
        if (served > 0 && after - before > slow) {
            PyObject *seconds = PyFloat_FromDouble(after - before);
            PyObject *told[] = {engine, watcher, seconds};
            if (!seconds || done(PyObject_VectorcallMethod(str_slow, told, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)) < 0)
                served = -1;
            Py_XDECREF(seconds);
        }
        Py_DECREF(watcher);
        if (served < 0) {
            Py_DECREF(now);
            return NULL;
        }
        if (!served)
            break;
        at++;
        if (after > end)
            break;
        before = after;
    }
    Py_DECREF(now);
    return PyLong_FromSsize_t(at);
}

/* ------------------------------------------------------------------------------------------------- the module */

PyDoc_STRVAR(send_doc, "send(channel, octets, now)\n--\n\n"
                       "Send one encoded message at once, where all is as usual and nothing waits before it.\n\n"
                       "Returns False, with nothing done, where it has to go through the outbox.");

static PyObject *
send_at_once(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "send() takes a Channel, bytes and a time");
        return NULL;
    }
    PyObject *channel = arguments[0], *octets = arguments[1], *now = arguments[2];
    if (!Py_IS_TYPE(channel, channel_class.type))
        Py_RETURN_FALSE;
    PyObject *stream = get(channel, channel_class.stream);
    if (!Py_IS_TYPE(stream, stream_class.type) || !usual(channel, stream) || !quiet_out(stream))
        Py_RETURN_FALSE;
    Py_INCREF(stream);
    set(stream, stream_class.last_activity, Py_NewRef(now));
    int status = add(stream, stream_class.messages_out, 1);
    if (!status)
        status = send_octets(channel, stream, octets, now);
    Py_DECREF(stream);
    return status < 0 ? NULL : Py_NewRef(Py_True);
}

PyDoc_STRVAR(run_doc, "run(stream, handle, room)\n--\n\n"
                      "Call handle(message) for the messages of the inbox, and put the replies into stream.pending.\n\n"
                      "Returns (reply, room): the first reply that is neither octets nor None, or None when the inbox\n"
                      "is empty, begins with one that does not map, or room, the octets that may still wait, is\n"
                      "used up; and what is left of room.\n"
                      "Raises what handle() raises.");

static PyObject *
run(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !Py_IS_TYPE(arguments[0], stream_class.type)) {
        PyErr_SetString(PyExc_TypeError, "run() takes a Stream, a handler and a number");
        return NULL;
    }
    Py_ssize_t room = PyLong_AsSsize_t(arguments[2]);
    if (room == -1 && PyErr_Occurred())
        return NULL;
    PyObject *inbox = Py_NewRef(get(arguments[0], stream_class.inbox)), *unusual;
    int status = run_handler(arguments[0], inbox, arguments[1], &room, &unusual);
    Py_DECREF(inbox);
    return status < 0 ? NULL : Py_BuildValue("(Nn)", unusual ? unusual : Py_NewRef(Py_None), room);
}

static PyMethodDef methods[] = {
    {"accept_many", (PyCFunction)(void (*)(void))accept_many, METH_FASTCALL, accept_many_doc},
    {"know", know, METH_VARARGS, know_doc},
    {"know_asyncio", know_asyncio, METH_VARARGS, know_asyncio_doc},
    {"know_connection", know_connection, METH_VARARGS, know_connection_doc},
    {"know_conversation", know_conversation, METH_O, know_conversation_doc},
    {"know_replies", know_replies, METH_VARARGS, know_replies_doc},
    {"know_life", know_life, METH_VARARGS, know_life_doc},
    {"poll", (PyCFunction)(void (*)(void))poll_watchers, METH_FASTCALL, poll_doc},
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, run_doc},
    {"send", (PyCFunction)(void (*)(void))send_at_once, METH_FASTCALL, send_doc},
    {"serve_many", (PyCFunction)(void (*)(void))serve_many, METH_FASTCALL, serve_many_doc},
    {NULL, NULL, 0, NULL},
};

static int
start(PyObject *module)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!*names[i].name && !(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    }
    if (!no_octets && !(no_octets = PyBytes_FromStringAndSize(NULL, 0)))
        return -1;
    if (prepare_talking(module) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "STAMP", STAMP);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)start},
#if PY_VERSION_HEX >= 0x030C0000
    /* What we know of our neighbours is static: their classes are those of one interpreter. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fourtuple.engine._turn",
    .m_doc = "The usual turn of a connection, in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__turn(void)
{
    return PyModuleDef_Init(&definition);
}
