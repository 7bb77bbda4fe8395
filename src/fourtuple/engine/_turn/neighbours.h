/* What the turn knows of its neighbours in Python: their classes, where the slots of these are, and their names. */
#ifndef FOURTUPLE_TURN_NEIGHBOURS_H
#define FOURTUPLE_TURN_NEIGHBOURS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <structmember.h>

#include "../../framing/_split/api.h"

typedef Py_ssize_t Slot; /* where in an object a slot of its class is */

static struct {
    PyTypeObject *type;
    Slot consumer, engine, fd, id, inlined, detached, mask, on_end, opened, socket, stream;
} channel_class;

static struct {
    PyTypeObject *type;
    Slot share, thread;
} engine_class;

static struct {
    PyTypeObject *type;
    Slot closing, decoder, framing, gap, head, inbox, last_activity, layer, limits, message_since,
        messages_in, messages_out, name, octets_in, octets_out, opened, outbox, outbox_size, paused_at, pending, rare, raw,
        raw_mode, read_error, reading, reason, requests, tap, writing;
} stream_class;

static struct {
    PyTypeObject *type;
    PyTypeObject *last;     /* ReplyAndClose */
    PyTypeObject *unmapped; /* Unmapped: in the place of a message, and for Python to decide on */
    PyTypeObject *unsendable; /* Unsendable: in the place of pending replies, and for Python to raise */
    Slot channel, connection, handle, service, stream;
} replies_class;

static const SplitApi *split;   /* the splitters in C, where they are built */
static PyObject *half_open;     /* Half.OPEN */
static PyObject *message_error; /* MessageError */

static struct {
    PyTypeObject *type; /* DoomedChannel */
    Slot due;
    PyObject *now; /* when it is due: before any moment */
} doomed;

static PyObject *no_octets; /* b"" */
static PyObject *no_events; /* 0 */
static PyObject *str_add, *str_broken, *str_buffered, *str_carry_on, *str_commit, *str_consume, *str_encode,
    *str_encode_many, *str_encoder, *str_ends_stream, *str_enter, *str_failed, *str_fd, *str_feed, *str_join,
    *str_leave, *str_local, *str_mask, *str_message_error, *str_now, *str_on_closed, *str_on_failure, *str_on_opened,
    *str_on_ready, *str_readiness, *str_revisit, *str_say, *str_settle, *str_slow, *str_sweeper, *str_took,
    *str_undersent, *str_unwell, *str_update, *str_watch, *str_write, *str_write_failed;

static struct {
    PyObject **name;
    const char *text;
} const names[] = {
    {&str_add, "add"},
    {&str_broken, "_broken"},
    {&str_buffered, "buffered"},
    {&str_carry_on, "carry_on"},
    {&str_commit, "commit"},
    {&str_consume, "_consume"},
    {&str_encode, "encode"},
    {&str_encode_many, "encode_many"},
    {&str_encoder, "_encoder"},
    {&str_ends_stream, "ends_stream"},
    {&str_enter, "enter"},
    {&str_failed, "_failed"},
    {&str_fd, "fd"},
    {&str_feed, "feed"},
    {&str_join, "join"},
    {&str_leave, "leave"},
    {&str_local, "local"},
    {&str_mask, "mask"},
    {&str_message_error, "_message_error"},
    {&str_now, "now"},
    {&str_on_closed, "on_closed"},
    {&str_on_failure, "on_failure"},
    {&str_on_opened, "on_opened"},
    {&str_on_ready, "on_ready"},
    {&str_readiness, "readiness"},
    {&str_revisit, "revisit"},
    {&str_say, "say"},
    {&str_settle, "settle"},
    {&str_slow, "_slow"},
    {&str_sweeper, "_sweeper"},
    {&str_took, "_took"},
    {&str_undersent, "undersent"},
    {&str_unwell, "unwell"},
    {&str_update, "update"},
    {&str_watch, "watch"},
    {&str_write, "write"},
    {&str_write_failed, "_write_failed"},
};

/* The slot's value, borrowed. */
static inline PyObject *
get(PyObject *object, Slot slot)
{
    return *(PyObject **)((char *)object + slot);
}

/* Steals `value`. */
static inline void
set(PyObject *object, Slot slot, PyObject *value)
{
    PyObject **place = (PyObject **)((char *)object + slot);
    PyObject *old = *place;
    *place = value;
    Py_XDECREF(old);
}

static inline int
add(PyObject *object, Slot slot, Py_ssize_t more)
{
    PyObject *sum;
    Py_ssize_t now = PyLong_AsSsize_t(get(object, slot));
    if ((now == -1 && PyErr_Occurred()) || !(sum = PyLong_FromSsize_t(now + more)))
        return -1;
    set(object, slot, sum);
    return 0;
}

typedef struct {
    PyTypeObject *type;
    const char *name;
    Slot *slot;
} SlotOf;

static int
find_slot(PyTypeObject *type, const char *name, Slot *slot)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    if (!found)
        return -1;
    PyMemberDef *member = Py_IS_TYPE(found, &PyMemberDescr_Type) ? ((PyMemberDescrObject *)found)->d_member : NULL;
    Py_DECREF(found);
    if (!member || member->type != T_OBJECT_EX) {
        PyErr_Format(PyExc_TypeError, "%s.%s is not a slot", type->tp_name, name);
        return -1;
    }
    *slot = member->offset;
    return 0;
}

static int
find_slots(const SlotOf *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (find_slot(slots[i].type, slots[i].name, slots[i].slot) < 0)
            return -1;
    }
    return 0;
}

/* Whether this is the thread of the channel's loop, as far as can be told at once: Engine.check_thread() can tell more. */
static inline bool
in_its_thread(PyObject *channel)
{
    static PyObject *known; /* the number that was looked at last, which is one loop's for long */
    static unsigned long known_thread;
    PyObject *engine = get(channel, channel_class.engine);
    if (!engine || !PyObject_TypeCheck(engine, engine_class.type))
        return false;
    PyObject *thread = get(engine, engine_class.thread);
    if (thread != known) {
        if (!thread || !PyLong_CheckExact(thread))
            return false;
        Py_XSETREF(known, Py_NewRef(thread));
        known_thread = PyLong_AsUnsignedLongMask(thread);
    }
    return known_thread == PyThread_get_thread_ident();
}

PyDoc_STRVAR(know_doc, "know(Channel, Stream, Engine, Half.OPEN, MessageError)\n--\n\n"
                       "Learn where the slots of these classes are; without it, serve_many() declines everything.");

static PyObject *
know(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *channel, *stream, *engine;
    PyObject *open, *error;
    if (!PyArg_ParseTuple(arguments, "O!O!O!OO", &PyType_Type, &channel, &PyType_Type, &stream, &PyType_Type, &engine,
                          &open, &error))
        return NULL;
    const SlotOf slots[] = {
        {engine, "thread", &engine_class.thread},
        {channel, "consumer", &channel_class.consumer},
        {channel, "engine", &channel_class.engine},
        {channel, "fd", &channel_class.fd},
        {channel, "id", &channel_class.id},
        {channel, "inline", &channel_class.inlined},
        {channel, "detached", &channel_class.detached},
        {channel, "mask", &channel_class.mask},
        {channel, "on_end", &channel_class.on_end},
        {channel, "opened", &channel_class.opened},
        {channel, "_socket", &channel_class.socket},
        {channel, "stream", &channel_class.stream},
        {engine, "share", &engine_class.share},
        {stream, "closing", &stream_class.closing},
        {stream, "decoder", &stream_class.decoder},
        {stream, "framing", &stream_class.framing},
        {stream, "_gap", &stream_class.gap},
        {stream, "_head", &stream_class.head},
        {stream, "inbox", &stream_class.inbox},
        {stream, "last_activity", &stream_class.last_activity},
        {stream, "layer", &stream_class.layer},
        {stream, "limits", &stream_class.limits},
        {stream, "message_since", &stream_class.message_since},
        {stream, "messages_in", &stream_class.messages_in},
        {stream, "messages_out", &stream_class.messages_out},
        {stream, "_name", &stream_class.name},
        {stream, "octets_in", &stream_class.octets_in},
        {stream, "octets_out", &stream_class.octets_out},
        {stream, "opened", &stream_class.opened},
        {stream, "outbox", &stream_class.outbox},
        {stream, "outbox_size", &stream_class.outbox_size},
        {stream, "_paused_at", &stream_class.paused_at},
        {stream, "pending", &stream_class.pending},
        {stream, "_rare", &stream_class.rare},
        {stream, "_raw", &stream_class.raw},
        {stream, "raw_mode", &stream_class.raw_mode},
        {stream, "read_error", &stream_class.read_error},
        {stream, "reading", &stream_class.reading},
        {stream, "reason", &stream_class.reason},
        {stream, "_requests", &stream_class.requests},
        {stream, "tap", &stream_class.tap},
        {stream, "writing", &stream_class.writing},
    };
    if (find_slots(slots, sizeof slots / sizeof *slots) < 0)
        return NULL;
    split = PyCapsule_Import(SPLIT_API, 0);
    if (!split)
        PyErr_Clear(); /* not built: decoders in Python do as well */
    else if (split->stamp != SPLIT_API_STAMP)
        split = NULL;
    Py_XSETREF(half_open, Py_NewRef(open));
    Py_XSETREF(message_error, Py_NewRef(error));
    Py_XSETREF(stream_class.type, (PyTypeObject *)Py_NewRef(stream));
    Py_XSETREF(channel_class.type, (PyTypeObject *)Py_NewRef(channel));
    Py_XSETREF(engine_class.type, (PyTypeObject *)Py_NewRef(engine));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(know_doomed_doc, "know_doomed(DoomedChannel, now)\n--\n\n"
                              "Learn what a channel becomes that is to be ended by the sweep, and when it is due.");

static PyObject *
know_doomed(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *type;
    PyObject *now;
    if (!PyArg_ParseTuple(arguments, "O!O", &PyType_Type, &type, &now) || find_slot(type, "due", &doomed.due) < 0)
        return NULL;
    if (type->tp_basicsize != channel_class.type->tp_basicsize) {
        PyErr_SetString(PyExc_TypeError, "know_doomed() takes a class with the slots of Channel");
        return NULL;
    }
    Py_XSETREF(doomed.now, Py_NewRef(now));
    Py_XSETREF(doomed.type, (PyTypeObject *)Py_NewRef(type));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(know_replies_doc, "know_replies(InlineReplies, ReplyAndClose, Unmapped, Unsendable)\n--\n\n"
                               "Learn the runner whose handlers are called from here.");

static PyObject *
know_replies(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *runner, *last, *unmapped, *unsendable;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!", &PyType_Type, &runner, &PyType_Type, &last, &PyType_Type, &unmapped,
                          &PyType_Type, &unsendable))
        return NULL;
    const SlotOf slots[] = {
        {runner, "channel", &replies_class.channel},
        {runner, "_connection", &replies_class.connection},
        {runner, "_handle", &replies_class.handle},
        {runner, "service", &replies_class.service},
        {runner, "stream", &replies_class.stream},
    };
    if (find_slots(slots, sizeof slots / sizeof *slots) < 0)
        return NULL;
    Py_XSETREF(replies_class.type, (PyTypeObject *)Py_NewRef(runner));
    Py_XSETREF(replies_class.last, (PyTypeObject *)Py_NewRef(last));
    Py_XSETREF(replies_class.unmapped, (PyTypeObject *)Py_NewRef(unmapped));
    Py_XSETREF(replies_class.unsendable, (PyTypeObject *)Py_NewRef(unsendable));
    Py_RETURN_NONE;
}

#endif
