/* The usual turn of a connection, in C: recv, split, call the handler, encode, send.
 *
 * It works on the same Python objects as its twin in channel.py and handlers/inline.py, by the offsets of their
 * __slots__, and does only what is usual: readable, no layer, open in both directions, nothing waiting in inbox or
 * outbox. Whatever else it meets (end of file, an error, a handler that closes, a send that is cut short) it hands
 * over to the Python that stands beside it, with every object in the state that Python would have left.
 *
 * The system calls do not wait, and keep the GIL on purpose: to release it beside one thread that computes cost
 * 80 % of the throughput (whoever gives it up gets it back 5 ms later).
 */

#define PY_SSIZE_T_CLEAN

#include "begin.h"
#include "calls.h"
#include "end.h"
#include "in.h"
#include "life.h"
#include "neighbours.h"
#include "out.h"
#include "replies.h"
#include "share.h"
#include "stages.h"
#include "talk.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>

#define STAMP 24 /* see compiled.py: raised when this file and its Python neighbours change what they tell each other */

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

/* A turn under way. */
typedef struct {
    PyObject *engine, *now;
    double before, end, slow; /* the last look at the clock, and the bounds */
} Turn;

/* Whether a call failed, and for nothing but a lack of memory, which then is forgotten. */
static bool
lacks_memory(int status)
{
    if (status >= 0 || !PyErr_ExceptionMatches(PyExc_MemoryError))
        return false;
    PyErr_Clear();
    return true;
}

/* There is no memory to end this connection: the sweep does. Its class is its state: see channel.py. */
static int
doom(PyObject *engine, PyObject *channel)
{
    if (doomed.type && Py_IS_TYPE(channel, channel_class.type)) {
        Py_INCREF(doomed.type);
        Py_SET_TYPE(channel, doomed.type);
        Py_DECREF(channel_class.type);
        set(channel, doomed.due, Py_NewRef(doomed.now));
    }
    return lacks_memory(PyObject_SetAttr(engine, str_unwell, Py_True)) || !PyErr_Occurred() ? 0 : -1;
}

/* It raised: that costs this connection, nothing else. */
static int
tell_failed(Turn *turn, PyObject *channel)
{
    PyObject *error = caught(), *told[] = {turn->engine, channel, error};
    int status = done(PyObject_VectorcallMethod(str_failed, told, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    Py_DECREF(error);
    if (lacks_memory(status))
        status = doom(turn->engine, channel);
    return status;
}

/* Look at the clock: who took long is named. */
static int
tell_slow(Turn *turn, PyObject *channel)
{
    double after = seconds_now(), took = after - turn->before;
    turn->before = after;
    if (took <= turn->slow)
        return 0;
    PyObject *seconds = PyFloat_FromDouble(took), *told[] = {turn->engine, channel, seconds};
    int status =
        seconds ? done(PyObject_VectorcallMethod(str_slow, told, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)) : -1;
    Py_XDECREF(seconds);
    return lacks_memory(status) ? 0 : status;
}

/* When replies may wait for other handlers again. */
static double patient_from;

/* Let the handler of one that is due run. Who took long may do so again, and then nobody's replies are to wait for it:
 * a sixteenth of the time at most. */
static int
handle(Turn *turn, Due *due)
{
    double before = turn->before;
    Share *share = share_of(due->channel);
    if (share)
        begin_share(share, before);
    if ((consume(due, turn->now) < 0 && tell_failed(turn, due->channel) < 0) || tell_slow(turn, due->channel) < 0)
        return -1;
    if (turn->before - before > PATIENCE)
        patient_from = turn->before + 16 * (turn->before - before);
    return 0;
}

/* Send what it replied. */
static int
answer(Turn *turn, Due *due)
{
    if (!due->to_send)
        return 0;
    int unusual = send_due(due, turn->now);
    if (unusual < 0 && tell_failed(turn, due->channel) < 0)
        return -1;
    /* An encoder in Python takes its time, too. */
    return unusual || !encoder_of(get(due->stream, stream_class.framing)) ? tell_slow(turn, due->channel) : 0;
}

static void
forget(Due *due, int count)
{
    for (int i = 0; i < count; i++) {
        Py_DECREF(due[i].channel);
        Py_DECREF(due[i].stream);
    }
}

/* Receive from the channels of ready[*at:most] until enough are due. Returns how many, -1 with an exception; `*on`
 * becomes false before one that is not usual, and when the time is over. */
static int
receive_stage(Turn *turn, PyObject *ready, Py_ssize_t *at, Py_ssize_t most, Due *due, bool *on)
{
    int count = 0;
    ssize_t size = 0;
    while (*on && count < MOST_DUE && size < ENOUGH && *at < most && *at < PyList_GET_SIZE(ready)) {
        PyObject *pair = PyList_GET_ITEM(ready, *at), *channel = PyTuple_GET_ITEM(pair, 0);
        int served = 0;
        if (Py_IS_TYPE(channel, channel_class.type) && only_to_read(PyLong_AsLong(PyTuple_GET_ITEM(pair, 1))) &&
            PyLong_AsLong(get(channel, channel_class.mask))) {
            Py_INCREF(channel);
            served = read_channel(channel, turn->now, &due[count]);
            bool quick = served == 2 && splits(get(due[count].stream, stream_class.decoder));
            if (served == 2)
                size += due[count++].size;
            if (served && !quick && ((served < 0 && tell_failed(turn, channel) < 0) || tell_slow(turn, channel) < 0))
                served = -2;
            Py_DECREF(channel);
        }
        if (served == -2) {
            forget(due, count);
            return -1;
        }
        *at += served != 0;
        *on = served && turn->before <= turn->end;
    }
    return count;
}

/* Whoever was received from and not handled in time comes first in the next turn, with no events of the kernel. */
static int
give_back(PyObject *ready, Py_ssize_t at, Due *due, int count)
{
    for (int i = count; i-- > 0;) {
        PyObject *pair = PyTuple_Pack(2, due[i].channel, no_events);
        int status = pair ? PyList_Insert(ready, at, pair) : -1;
        Py_XDECREF(pair);
        if (status < 0)
            return -1;
    }
    return 0;
}

/* Let the handlers of those who are due run, and send what they replied. */
static int
reply_stage(Turn *turn, PyObject *ready, Py_ssize_t at, Due *due, int count)
{
    int handled = 0, sent = 0, status = 0;
    turn->before = seconds_now();
    while (!status && sent < count && (!handled || turn->before <= turn->end)) {
        double began = turn->before;
        do
            status = handle(turn, &due[handled++]);
        while (!status && handled < count && turn->before <= turn->end && turn->before - began < PATIENCE &&
               turn->before >= patient_from);
        for (; !status && sent < handled; sent++)
            status = answer(turn, &due[sent]);
        if (handled < count)
            turn->before = seconds_now(); /* the next handler has sent nothing yet */
    }
    if (!status && handled < count) {
        status = give_back(ready, at, due + handled, count - handled);
        if (lacks_memory(status)) { /* then they are served now, late as it is */
            for (status = 0; !status && handled < count; handled++) {
                status = handle(turn, &due[handled]);
                if (!status)
                    status = answer(turn, &due[handled]);
            }
        }
    }
    forget(due, count);
    return status;
}

PyDoc_STRVAR(serve_many_doc,
             "serve_many(engine, ready, first, most, end, slow)\n--\n\n"
             "Serve the usual events of ready[first:most] until one is not usual, or time.monotonic() is past `end`.\n\n"
             "Returns how many of `ready` are done with; behind them stand those, with no events, whose messages are\n"
             "read and not handled. What raises goes to engine._failed(watcher, error); who took more than `slow`\n"
             "seconds, to engine._slow(watcher, seconds).");

static PyObject *
serve_many(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 6 || !PyList_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "serve_many() takes an engine, a list and four numbers");
        return NULL;
    }
    PyObject *ready = arguments[1];
    Py_ssize_t at = PyLong_AsSsize_t(arguments[2]), most = PyLong_AsSsize_t(arguments[3]);
    Turn turn = {.engine = arguments[0], .end = PyFloat_AsDouble(arguments[4]), .slow = PyFloat_AsDouble(arguments[5])};
    turn.now = PyErr_Occurred() ? NULL : PyObject_GetAttr(turn.engine, str_now);
    if (!turn.now)
        return NULL;
    Due due[MOST_DUE];
    bool on = true;
    int status = 0;
    turn.before = seconds_now();
    while (on && status >= 0 && at < most) {
        status = receive_stage(&turn, ready, &at, most, due, &on);
        if (status > 0)
            status = reply_stage(&turn, ready, at, due, status);
        else
            break;
        if (on && at < most)
            turn.before = seconds_now();
        on = on && turn.before <= turn.end;
    }
    Py_DECREF(turn.now);
    return status < 0 ? NULL : PyLong_FromSsize_t(at);
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

PyDoc_STRVAR(run_doc, "run(stream, handle, share, room)\n--\n\n"
                      "Call handle(message) for the messages of the inbox, and put the replies into stream.pending.\n\n"
                      "Returns (reply, room): the first reply that is neither octets nor None, or None when the inbox\n"
                      "is empty, begins with one that does not map, the share of the loop is over, or room, the octets\n"
                      "that may still wait, is used up; and what is left of room.\n"
                      "Raises what handle() raises.");

static PyObject *
run(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 4 || !Py_IS_TYPE(arguments[0], stream_class.type) || !Py_IS_TYPE(arguments[2], &share_type)) {
        PyErr_SetString(PyExc_TypeError, "run() takes a Stream, a handler, a Share and a number");
        return NULL;
    }
    Py_ssize_t room = PyLong_AsSsize_t(arguments[3]);
    if (room == -1 && PyErr_Occurred())
        return NULL;
    PyObject *inbox = Py_NewRef(get(arguments[0], stream_class.inbox)), *unusual;
    int status = run_handler(arguments[0], inbox, arguments[1], (Share *)arguments[2], &room, &unusual);
    Py_DECREF(inbox);
    return status < 0 ? NULL : Py_BuildValue("(Nn)", unusual ? unusual : Py_NewRef(Py_None), room);
}

static PyMethodDef methods[] = {
    {"accept_many", (PyCFunction)(void (*)(void))accept_many, METH_FASTCALL, accept_many_doc},
    {"close_last", close_last, METH_O, close_last_doc},
    {"know", know, METH_VARARGS, know_doc},
    {"know_asyncio", know_asyncio, METH_VARARGS, know_asyncio_doc},
    {"know_connection", know_connection, METH_VARARGS, know_connection_doc},
    {"know_doomed", know_doomed, METH_VARARGS, know_doomed_doc},
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
    /* What we know of our neighbours is static: their classes are those of one interpreter. */
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "it serves the main interpreter alone");
        return -1;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!*names[i].name && !(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    }
    if (!no_octets && !(no_octets = PyBytes_FromStringAndSize(NULL, 0)))
        return -1;
    if (!no_events && !(no_events = PyLong_FromLong(0)))
        return -1;
    if (prepare_talking(module) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "STAMP", STAMP);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)start},
#if PY_VERSION_HEX >= 0x030C0000
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
