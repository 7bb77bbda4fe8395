/* The async conversation in C: the turn resumes its task at once, and what it said until it waits again leaves by one
 * send(2). Its twins are Connection, Channel._consume() and AsyncConversation.readable(). */
#ifndef FOURTUPLE_TURN_TALK_H
#define FOURTUPLE_TURN_TALK_H

#include "calls.h"
#include "neighbours.h"
#include "out.h"
#include "receive.h"
#include "share.h"
#include "wait.h"

#include <sys/epoll.h>

static struct {
    PyTypeObject *type; /* AsyncConversation */
    Slot connection;
} conversation_class;

static struct {
    Slot crowded, dirty; /* of Channel */
} talk_slots;

static PyObject *str_flush_soon, *str_interrupted;

/* --- sending -------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
} Done;

static PyObject *
done_next(PyObject *Py_UNUSED(self))
{
    return NULL; /* and no exception: nothing to wait for */
}

static PyAsyncMethods done_async = {.am_await = PyObject_SelfIter};

static PyTypeObject done_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple.engine._turn.Done",
    .tp_doc = PyDoc_STR("Done()\n--\n\n"
                        "An awaitable with nothing to wait for: what send() returns while the peer keeps up."),
    .tp_basicsize = sizeof(Done),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_as_async = &done_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = done_next,
};

static PyObject *nothing_to_wait_for; /* a Done */

/* Take a message into the outbox, where all is as usual: 1; 0 where Connection.send() is to do it, -1 with an exception. */
static int
take_to_send(PyObject *connection, PyObject *message)
{
    PyObject *stream = get(connection, connection_class.stream), *channel = get(connection, connection_class.channel);
    if (!PyBytes_CheckExact(message) || !stream || !channel || !Py_IS_TYPE(stream, stream_class.type) ||
        !Py_IS_TYPE(channel, channel_class.type) || get(stream, stream_class.writing) != half_open ||
        get(stream, stream_class.layer) != Py_None || !in_its_thread(channel))
        return 0;
    PyObject *pending = get(stream, stream_class.pending), *outbox = get(stream, stream_class.outbox);
    if (!PyList_CheckExact(pending) || PyList_GET_SIZE(pending) || !PyList_CheckExact(outbox))
        return 0;
    if (know_limits(get(stream, stream_class.limits)) < 0)
        return -1;
    PyObject *octets = encode_one(get(stream, stream_class.framing), message);
    if (!octets)
        return PyErr_Occurred() ? -1 : 0;
    Py_ssize_t size = PyBytes_GET_SIZE(octets);
    int status = 0;
    Py_ssize_t room = Py_MIN(known_limits.high_water, known_limits.max_outbox);
    if (size && size < room - PyLong_AsSsize_t(get(stream, stream_class.outbox_size))) {
        status = into_outbox(stream, octets) < 0 || add(stream, stream_class.messages_out, 1) < 0 ? -1 : 1;
        if (status > 0 && get(channel, talk_slots.dirty) != Py_True && done(call0(channel, str_flush_soon)) < 0)
            status = -1;
    }
    Py_DECREF(octets);
    return status;
}

/* Call a twin in Python with the very arguments of its method in C. */
static PyObject *
ask_twin(PyObject *twin, PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    PyObject *all[8] = {self};
    Py_ssize_t size = count + (names ? PyTuple_GET_SIZE(names) : 0);
    if (size > 7) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are too many", size);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++)
        all[i + 1] = arguments[i];
    return PyObject_Vectorcall(twin, all, (size_t)count + 1, names);
}

static PyObject *
connection_send(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    int taken = count == 1 && !names ? take_to_send(self, arguments[0]) : 0;
    if (taken > 0) {
        Share *share = share_of(get(self, connection_class.channel));
        int over = share ? spend(share) : 0;
        if (over)
            return over < 0 ? NULL : call0(self, str_others_first);
        return Py_NewRef(nothing_to_wait_for);
    }
    if (taken < 0)
        return NULL;
    return ask_twin(connection_class.send, self, arguments, count, names);
}

/* --- async for ------------------------------------------------------------------------------------------------------ */

/* What `async for` goes over: a reception after another, the same object again where nobody else has it. */
typedef struct {
    PyObject_HEAD
    PyObject *connection;
    Reception *reception;
} Messages;

static PyTypeObject messages_type;

static PyObject *
new_messages(PyObject *connection)
{
    Messages *messages = PyObject_GC_New(Messages, &messages_type);
    if (!messages)
        return NULL;
    messages->connection = Py_NewRef(connection);
    messages->reception = NULL;
    PyObject_GC_Track(messages);
    return (PyObject *)messages;
}

static PyObject *
messages_next(Messages *messages)
{
    Reception *reception = messages->reception;
    if (reception && Py_REFCNT(reception) == 1) {
        warn_unless_begun(reception);
        give_up(reception);
        reception->state = FRESH;
        return Py_NewRef(reception);
    }
    reception = new_reception(messages->connection, true);
    if (reception)
        Py_XSETREF(messages->reception, (Reception *)Py_NewRef(reception));
    return (PyObject *)reception;
}

static int
messages_traverse(Messages *messages, visitproc visit, void *arg)
{
    Py_VISIT(messages->connection);
    Py_VISIT(messages->reception);
    return 0;
}

static int
messages_clear(Messages *messages)
{
    Py_CLEAR(messages->reception);
    return 0;
}

static void
messages_dealloc(Messages *messages)
{
    PyObject_GC_UnTrack(messages);
    messages_clear(messages);
    Py_CLEAR(messages->connection);
    PyObject_GC_Del(messages);
}

static PyAsyncMethods messages_async = {.am_aiter = PyObject_SelfIter, .am_anext = (unaryfunc)messages_next};

static PyTypeObject messages_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple.engine._turn.Messages",
    .tp_doc = PyDoc_STR("What `async for` goes over: the messages of a connection."),
    .tp_basicsize = sizeof(Messages),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)messages_dealloc,
    .tp_traverse = (traverseproc)messages_traverse,
    .tp_clear = (inquiry)messages_clear,
    .tp_as_async = &messages_async,
};

/* --- receiving ------------------------------------------------------------------------------------------------------ */

static PyObject *
connection_receive(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    if (!count && !names && is_whole(self))
        return (PyObject *)new_reception(self, false);
    return ask_twin(connection_class.receive, self, arguments, count, names);
}

static PyObject *
connection_anext(PyObject *self, PyObject *Py_UNUSED(none))
{
    return is_whole(self) ? (PyObject *)new_reception(self, true) : PyObject_CallOneArg(connection_class.anext, self);
}

static PyObject *
connection_aiter(PyObject *self, PyObject *Py_UNUSED(none))
{
    /* A subclass may have an __anext__ of its own. */
    return Py_IS_TYPE(self, connection_class.type) && is_whole(self) ? new_messages(self) : Py_NewRef(self);
}

/* --- the turn ------------------------------------------------------------------------------------------------------- */

/* Bring socket and stream into line behind a conversation, as Channel.settle() does. */
static int
settle_talk(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now)
{
    if (get(channel, channel_class.socket) == Py_None || get(channel, channel_class.detached) != Py_False)
        return 0;
    PyObject *pending = get(stream, stream_class.pending);
    if (!usual(channel, stream) || get(stream, stream_class.tap) != Py_None ||
        get(channel, talk_slots.crowded) != Py_False || PyLong_AsLong(get(channel, channel_class.mask)) != EPOLLIN ||
        PyLong_AsLong(get(stream, stream_class.head)) || get(stream, stream_class.paused_at) != Py_None ||
        get(stream, connection_class.gap_at) != Py_None || !PyList_CheckExact(pending) || PyList_GET_SIZE(pending))
        return done(call0(channel, str_settle));
    return send_batch(channel, stream, runner, now);
}

static inline bool
talks(PyObject *consumer)
{
    return conversation_class.type && Py_IS_TYPE(consumer, conversation_class.type) &&
           Py_IS_TYPE(get(consumer, conversation_class.connection), connection_class.type);
}

/* Whether its task waits for a message: one that does not would leave octets uncut, and reading is not paused by those. */
static inline bool
listens(PyObject *runner)
{
    PyObject *receiver = get(get(runner, conversation_class.connection), connection_class.receiver);
    return Py_IS_TYPE(receiver, &eager_future_type) && ((EagerFuture *)receiver)->waiting;
}

/* Let the conversation go on, should it wait for a message. What it says is for settle_talk() to send. */
static int
talk(PyObject *channel, PyObject *runner)
{
    PyObject *receiver = get(get(runner, conversation_class.connection), connection_class.receiver);
    if (!Py_IS_TYPE(receiver, &eager_future_type))
        return 0;
    /* What is said now is written in this turn, and needs no other visit. */
    set(channel, talk_slots.dirty, Py_NewRef(Py_True));
    int status = wake((EagerFuture *)receiver, true);
    if (status < 0 &&
        (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit)))
        status = hand_error(runner, str_interrupted);
    set(channel, talk_slots.dirty, Py_NewRef(Py_False));
    return status;
}

/* --- who is who ----------------------------------------------------------------------------------------------------- */

#define TWINS 4

/* With the texts of their twins, which are filled in: see know_connection(). */
static PyMethodDef connection_methods[TWINS] = {
    {"__aiter__", (PyCFunction)connection_aiter, METH_NOARGS, NULL},
    {"__anext__", (PyCFunction)connection_anext, METH_NOARGS, NULL},
    {"receive", (PyCFunction)(void (*)(void))connection_receive, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"send", (PyCFunction)(void (*)(void))connection_send, METH_FASTCALL | METH_KEYWORDS, NULL},
};
static const char *const signatures[TWINS] = {"$self, /", "$self, /", "$self, /, timeout=None", "$self, /, message"};
static PyObject *texts[TWINS];

/* Put a method in C in the place of its twin. */
static int
replace_twin(PyTypeObject *connection, size_t number)
{
    PyMethodDef *method = &connection_methods[number];
    PyObject *twin = PyObject_GetAttrString((PyObject *)connection, method->ml_name);
    PyObject *text = twin ? PyObject_GetAttrString(twin, "__doc__") : NULL;
    PyObject *whole = NULL, *descriptor = NULL;
    if (text)
        whole = PyUnicode_FromFormat("%s(%s)\n--\n\n%V", method->ml_name, signatures[number],
                                     text == Py_None ? NULL : text, "");
    if (whole && (method->ml_doc = PyUnicode_AsUTF8(whole)))
        descriptor = PyDescr_NewMethod(connection, method);
    int status = descriptor ? PyObject_SetAttrString((PyObject *)connection, method->ml_name, descriptor) : -1;
    if (whole)
        Py_XSETREF(texts[number], whole);
    Py_XDECREF(descriptor);
    Py_XDECREF(text);
    Py_XDECREF(twin);
    return status;
}

PyDoc_STRVAR(know_connection_doc,
             "know_connection(Connection, Channel, Stream, Unmapped, EndOfFile, ConnectionEnded)\n--\n\n"
             "Learn what a conversation holds, and put the methods in C in the place of their twins in Python.");

static PyObject *
know_connection(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *connection, *channel, *stream;
    PyObject *unmapped, *end_of_file, *ended;
    if (!PyArg_ParseTuple(arguments, "O!O!O!OOO", &PyType_Type, &connection, &PyType_Type, &channel, &PyType_Type,
                          &stream, &unmapped, &end_of_file, &ended))
        return NULL;
    if (find_slot(connection, "_channel", &connection_class.channel) < 0 ||
        find_slot(connection, "_receiver", &connection_class.receiver) < 0 ||
        find_slot(connection, "_stream", &connection_class.stream) < 0 ||
        find_slot(channel, "_crowded", &talk_slots.crowded) < 0 ||
        find_slot(channel, "_dirty", &talk_slots.dirty) < 0 ||
        find_slot(stream, "gap_at", &connection_class.gap_at) < 0)
        return NULL;
    Py_XSETREF(connection_class.unmapped, Py_NewRef(unmapped));
    Py_XSETREF(connection_class.end_of_file, Py_NewRef(end_of_file));
    Py_XSETREF(connection_class.ended, Py_NewRef(ended));
    Py_XSETREF(connection_class.anext, PyObject_GetAttrString((PyObject *)connection, "__anext__"));
    Py_XSETREF(connection_class.receive, PyObject_GetAttrString((PyObject *)connection, "receive"));
    Py_XSETREF(connection_class.send, PyObject_GetAttrString((PyObject *)connection, "send"));
    Py_XSETREF(connection_class.type, (PyTypeObject *)Py_NewRef(connection));
    if (!connection_class.anext || !connection_class.receive || !connection_class.send)
        return NULL;
    for (size_t i = 0; i < TWINS; i++) {
        if (replace_twin(connection, i) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(know_conversation_doc, "know_conversation(AsyncConversation)\n--\n\n"
                                    "Learn the runner whose tasks are resumed from here.");

static PyObject *
know_conversation(PyObject *Py_UNUSED(module), PyObject *runner)
{
    if (!PyType_Check(runner)) {
        PyErr_SetString(PyExc_TypeError, "know_conversation() takes a class");
        return NULL;
    }
    if (find_slot((PyTypeObject *)runner, "_connection", &conversation_class.connection) < 0)
        return NULL;
    Py_XSETREF(conversation_class.type, (PyTypeObject *)Py_NewRef(runner));
    Py_RETURN_NONE;
}

static int
prepare_talking(PyObject *module)
{
    const struct {
        PyObject **name;
        const char *text;
    } needed[] = {
        {&str_arrived, "_arrived"},       {&str_behind_others, "_behind_others"},
        {&str_check_sole_receiver, "_check_sole_receiver"},
        {&str_consumed, "consumed"},      {&str_flush_soon, "flush_soon"},
        {&str_interrupted, "interrupted"}, {&str_next, "_next"},
        {&str_others_first, "_others_first"}, {&str_waiter, "_waiter"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!*needed[i].name && !(*needed[i].name = PyUnicode_InternFromString(needed[i].text)))
            return -1;
    }
    if (prepare_waiting() < 0 || PyType_Ready(&share_type) < 0 || PyType_Ready(&reception_type) < 0 || PyType_Ready(&messages_type) < 0 ||
        PyType_Ready(&done_type) < 0)
        return -1;
    if (!nothing_to_wait_for && !(nothing_to_wait_for = PyObject_CallNoArgs((PyObject *)&done_type)))
        return -1;
    return PyModule_AddObjectRef(module, "EagerFuture", (PyObject *)&eager_future_type) < 0 ||
                   PyModule_AddObjectRef(module, "Done", (PyObject *)&done_type) < 0 ||
                   PyModule_AddObjectRef(module, "Share", (PyObject *)&share_type) < 0
               ? -1
               : 0;
}

#endif
