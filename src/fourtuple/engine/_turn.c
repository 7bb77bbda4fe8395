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
#include <Python.h>
#include <structmember.h>

#include "../framing/_split_api.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define STAMP 5 /* see compiled.py: raised when this file and its Python neighbours change what they tell each other */

/* A read this small is copied out of the spare buffer; a larger one takes the buffer itself. */
#define SMALL 4096

/* ------------------------------------------------------------------------------- what we know of our neighbours */

typedef Py_ssize_t Slot; /* where in an object a slot of its class is */

static struct {
    PyTypeObject *type;
    Slot consumer, fd, lent, mask, socket, stream;
} channel_class;

static struct {
    PyTypeObject *type;
    Slot closing, decoder, framing, gap, inbox, last_activity, layer, limits, message_since, messages_in, messages_out,
        octets_in, octets_out, outbox, outbox_size, paused_at, pending, raw, raw_mode, read_error, reading, requests, tap,
        writing;
} stream_class;

static struct {
    PyTypeObject *type;
    PyTypeObject *last;     /* ReplyAndClose */
    PyTypeObject *unmapped; /* Unmapped: in the place of a message, and for Python to decide on */
    Slot handle;
} replies_class;

static const SplitApi *split;   /* the splitters in C, where they are built */
static PyObject *half_open;     /* Half.OPEN */
static PyObject *message_error; /* MessageError */

static PyObject *no_octets; /* b"" */
static PyObject *str_broken, *str_buffered, *str_carry_on, *str_commit, *str_consume, *str_encode, *str_encode_many,
    *str_failed, *str_feed, *str_encoder, *str_join, *str_message_error, *str_now, *str_revisit, *str_say, *str_settle, *str_slow,
    *str_took, *str_undersent, *str_write_failed;

static struct {
    PyObject **name;
    const char *text;
} const names[] = {
    {&str_buffered, "buffered"},
    {&str_broken, "_broken"},
    {&str_carry_on, "carry_on"},
    {&str_commit, "commit"},
    {&str_consume, "_consume"},
    {&str_encode, "encode"},
    {&str_encode_many, "encode_many"},
    {&str_failed, "_failed"},
    {&str_feed, "feed"},
    {&str_encoder, "_encoder"},
    {&str_join, "join"},
    {&str_message_error, "_message_error"},
    {&str_now, "now"},
    {&str_revisit, "revisit"},
    {&str_say, "say"},
    {&str_settle, "settle"},
    {&str_slow, "_slow"},
    {&str_took, "_took"},
    {&str_undersent, "undersent"},
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

/* --------------------------------------------------------------------------- what connections have in common */

/* The Limits seen last, read: all connections of a server share one object. */
static struct {
    PyObject *limits;
    Py_ssize_t read_size, max_batch, high_water;
    PyObject *max_batch_object;
} known_limits;

static int
number(PyObject *object, const char *name, Py_ssize_t *value)
{
    PyObject *found = PyObject_GetAttrString(object, name);
    if (!found)
        return -1;
    *value = PyLong_AsSsize_t(found);
    Py_DECREF(found);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The framing encoded for last, and its splitter in C, should it have one. */
static struct {
    PyObject *framing, *splitter;
} known_framing;

static PyObject *spare; /* a bytes object of read_size, to read into: nobody else has seen it */

static int
know_limits(PyObject *limits)
{
    if (known_limits.limits == limits)
        return 0;
    Py_CLEAR(known_limits.limits);
    Py_ssize_t read_size, max_batch, high_water;
    if (number(limits, "read_size", &read_size) < 0 || number(limits, "max_batch", &max_batch) < 0 ||
        number(limits, "high_water", &high_water) < 0)
        return -1;
    PyObject *object = PyLong_FromSsize_t(max_batch);
    if (!object)
        return -1;
    if (known_limits.read_size != read_size)
        Py_CLEAR(spare);
    known_limits.read_size = read_size;
    known_limits.max_batch = max_batch;
    known_limits.high_water = high_water;
    Py_XSETREF(known_limits.max_batch_object, object);
    known_limits.limits = Py_NewRef(limits);
    return 0;
}

/* Whether the decoder is one of C, which is asked without going by way of Python. */
static inline bool
splits(PyObject *decoder)
{
    return split && Py_IS_TYPE(decoder, split->decoder);
}

/* Take what one read brings to the decoder: *messages as feed() returns them, NULL where it raised. Returns the number
 * of octets; 0 for the end of file, -1 for an error of the socket, with its exception or with none: there was nothing. */
static ssize_t
read_messages(int fd, PyObject *decoder, PyObject **messages)
{
    char *where = NULL;
    Py_ssize_t welcome = splits(decoder) ? split->place(decoder, known_limits.read_size, &where) : 0;
    if (welcome < 0)
        return -1;
    if (!welcome && !spare && !(spare = PyBytes_FromStringAndSize(NULL, known_limits.read_size)))
        return -1;
    if (!welcome)
        where = PyBytes_AS_STRING(spare);
    ssize_t count = recv(fd, where, welcome ? welcome : known_limits.read_size, MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        PyErr_SetFromErrno(PyExc_OSError);
    if (count <= 0)
        return count;
    if (welcome) {
        *messages = split->arrived(decoder, count);
        return count;
    }
    PyObject *octets;
    if (count <= SMALL) {
        octets = PyBytes_FromStringAndSize(where, count);
    }
    else {
        octets = spare;
        spare = NULL;
        if (count < known_limits.read_size)
            _PyBytes_Resize(&octets, count);
    }
    if (!octets)
        return -1;
    if (splits(decoder)) {
        *messages = split->feed(decoder, octets, known_limits.max_batch);
    }
    else {
        PyObject *arguments[] = {decoder, octets, known_limits.max_batch_object};
        *messages = PyObject_VectorcallMethod(str_feed, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    Py_DECREF(octets);
    return count;
}

/* The octets that the decoder holds; -1 with an exception. */
static Py_ssize_t
held(PyObject *decoder)
{
    if (splits(decoder))
        return split->buffered(decoder);
    PyObject *buffered = PyObject_GetAttr(decoder, str_buffered);
    Py_ssize_t size = buffered ? PyLong_AsSsize_t(buffered) : -1;
    Py_XDECREF(buffered);
    return size;
}

/* --------------------------------------------------------------------------------- handing over to the Python */

static inline PyObject *
call0(PyObject *object, PyObject *method)
{
    return PyObject_VectorcallMethod(method, &object, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline PyObject *
call1(PyObject *object, PyObject *method, PyObject *argument)
{
    PyObject *arguments[] = {object, argument};
    return PyObject_VectorcallMethod(method, arguments, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline int
done(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* The exception that is set, taken from the thread, as an object with its traceback. */
static PyObject *
caught(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value && trace)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}

/* The other way round. */
static void
raise(PyObject *error)
{
    Py_INCREF(Py_TYPE(error));
    PyErr_Restore((PyObject *)Py_TYPE(error), Py_NewRef(error), PyException_GetTraceback(error));
}

/* Hand the exception that is set to a method; those that no handler may catch fly on. */
static int
hand_error(PyObject *object, PyObject *method)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *error = caught();
    int status = done(call1(object, method, error));
    Py_DECREF(error);
    return status;
}

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

/* Whether nothing waits to be written, and nobody looks at what is. */
static inline bool
quiet_out(PyObject *stream)
{
    PyObject *pending = get(stream, stream_class.pending);
    return get(stream, stream_class.tap) == Py_None && PyList_CheckExact(pending) && !PyList_GET_SIZE(pending) &&
           PyList_CheckExact(get(stream, stream_class.outbox)) &&
           PyLong_AsSsize_t(get(stream, stream_class.outbox_size)) == 0;
}

/* Whether nothing waits to be delivered, and all that is read is for the decoder. */
static inline bool
quiet_in(PyObject *stream)
{
    PyObject *inbox = get(stream, stream_class.inbox);
    return get(stream, stream_class.requests) == Py_None && get(stream, stream_class.gap) == Py_None &&
           get(stream, stream_class.raw) == Py_None &&
           get(stream, stream_class.raw_mode) == Py_False && get(stream, stream_class.paused_at) == Py_None &&
           PyList_CheckExact(inbox) && !PyList_GET_SIZE(inbox);
}

/* Put what was read into the inbox. Returns the number of messages, -1 with an exception. Steals `messages`. */
static Py_ssize_t
fill_inbox(PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now)
{
    if (!PyList_CheckExact(messages)) {
        PyErr_Format(PyExc_TypeError, "feed() returned %.100s, not a list", Py_TYPE(messages)->tp_name);
        Py_DECREF(messages);
        return -1;
    }
    Py_ssize_t count = PyList_GET_SIZE(messages);
    PyObject *since = get(stream, stream_class.message_since);
    /* Behind a full batch nobody knows yet whether what is held is whole: then no clock of the peer runs. */
    Py_ssize_t holding = count >= known_limits.max_batch ? 0 : count || since == Py_None ? held(decoder) : 1;
    if (holding < 0) {
        Py_DECREF(messages);
        return -1;
    }
    if (!holding && since != Py_None)
        set(stream, stream_class.message_since, Py_NewRef(Py_None));
    else if (holding && (count || since == Py_None))
        set(stream, stream_class.message_since, Py_NewRef(now));
    if (!count) {
        Py_DECREF(messages);
        return 0;
    }
    if (add(stream, stream_class.messages_in, count) < 0 || (count > 1 && PyList_Reverse(messages) < 0)) {
        Py_DECREF(messages);
        return -1;
    }
    set(stream, stream_class.inbox, messages);
    return count;
}

/* The octets of a list of replies, as framing.encode_many() makes them. */
static PyObject *
encode(PyObject *framing, PyObject *replies)
{
    if (split && known_framing.framing != framing) {
        PyObject *splitter = PyObject_GetAttr(framing, str_encoder);
        if (!splitter)
            PyErr_Clear(); /* a framing that has none */
        else if (!Py_IS_TYPE(splitter, split->splitter))
            Py_CLEAR(splitter);
        Py_XSETREF(known_framing.splitter, splitter);
        Py_XSETREF(known_framing.framing, Py_NewRef(framing));
    }
    if (known_framing.framing == framing && known_framing.splitter) {
        PyObject *octets = split->encode_many(known_framing.splitter, replies);
        if (octets != Py_None)
            return octets;
        Py_DECREF(octets);
    }
    return call1(framing, str_encode_many, replies);
}

/* Encode the pending replies into octets. NULL without an exception: Python is to say which one cannot be. */
static PyObject *
encode_pending(PyObject *stream, PyObject *pending)
{
    Py_ssize_t count = PyList_GET_SIZE(pending);
    PyObject *framing = Py_NewRef(get(stream, stream_class.framing));
    PyObject *octets = encode(framing, pending);
    Py_DECREF(framing);
    if (octets && PyBytes_CheckExact(octets) && PyList_GET_SIZE(pending) == count) {
        if (!PyList_SetSlice(pending, 0, count, NULL) && !add(stream, stream_class.messages_out, count))
            return octets;
    }
    else if (!octets && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
    }
    Py_XDECREF(octets);
    return NULL;
}

/* Put octets behind those in the outbox. */
static int
into_outbox(PyObject *stream, PyObject *octets)
{
    PyObject *outbox = get(stream, stream_class.outbox);
    if (!PyBytes_CheckExact(octets) || !PyList_CheckExact(outbox)) {
        PyErr_Format(PyExc_TypeError, "encode() returned %.100s, not bytes", Py_TYPE(octets)->tp_name);
        return -1;
    }
    if (!PyBytes_GET_SIZE(octets))
        return 0;
    if (PyList_Append(outbox, octets) < 0)
        return -1;
    return add(stream, stream_class.outbox_size, PyBytes_GET_SIZE(octets));
}

/* Encode a reply that is not plain octets at once, as Python does: it may change after the handler gave it. */
static int
take_value(PyObject *stream, PyObject *value)
{
    if (PyList_GET_SIZE(get(stream, stream_class.pending)) && done(call0(stream, str_commit)) < 0)
        return -1;
    PyObject *framing = Py_NewRef(get(stream, stream_class.framing));
    PyObject *octets = call1(framing, str_encode, value);
    Py_DECREF(framing);
    int status = octets ? into_outbox(stream, octets) : -1;
    if (!status)
        status = add(stream, stream_class.messages_out, 1);
    Py_XDECREF(octets);
    return status;
}

/* Send octets that stand in no outbox; what the kernel does not take Python keeps. */
static int
send_octets(PyObject *channel, PyObject *stream, PyObject *octets, PyObject *now)
{
    Py_ssize_t size = PyBytes_GET_SIZE(octets), taken = 0;
    if (size) {
        int fd = (int)PyLong_AsLong(get(channel, channel_class.fd));
        taken = send(fd, PyBytes_AS_STRING(octets), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (taken == size)
        return add(stream, stream_class.octets_out, size);
    if (taken < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return hand_error(channel, str_write_failed);
    }
    PyObject *count = PyLong_FromSsize_t(taken < 0 ? 0 : taken);
    PyObject *arguments[] = {channel, octets, count, now};
    int status = count ? done(PyObject_VectorcallMethod(str_undersent, arguments,
                                                        4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))
                       : -1;
    Py_XDECREF(count);
    return status;
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
        if (!PyErr_Occurred())
            status = 0; /* nothing to be read */
        else if (PyErr_ExceptionMatches(PyExc_OSError))
            status = hand_error(channel, str_broken);
        goto end;
    }
    if (!size) {
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
    PyObject *consumer = get(channel, channel_class.consumer);
    if (!replies_class.type || !Py_IS_TYPE(consumer, replies_class.type)) {
        status = done(call0(channel, str_consume)); /* with half a message, too: a thread is lent at the first octet */
    }
    else if (count) {
        Py_INCREF(consumer);
        status = reply(channel, stream, consumer, decoder, now);
        Py_DECREF(consumer);
    }
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
        if (!Py_IS_TYPE(watcher, channel_class.type) || PyLong_AsLong(PyTuple_GET_ITEM(pair, 1)) != EPOLLIN ||
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

PyDoc_STRVAR(know_doc, "know(Channel, Stream, Half.OPEN, MessageError)\n--\n\n"
                       "Learn where the slots of these classes are; without it, serve_many() declines everything.");

static PyObject *
know(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *channel, *stream;
    PyObject *open, *error;
    if (!PyArg_ParseTuple(arguments, "O!O!OO", &PyType_Type, &channel, &PyType_Type, &stream, &open, &error))
        return NULL;
    const struct {
        PyTypeObject *type;
        const char *name;
        Slot *slot;
    } slots[] = {
        {channel, "consumer", &channel_class.consumer},
        {channel, "fd", &channel_class.fd},
        {channel, "lent", &channel_class.lent},
        {channel, "mask", &channel_class.mask},
        {channel, "socket", &channel_class.socket},
        {channel, "stream", &channel_class.stream},
        {stream, "closing", &stream_class.closing},
        {stream, "decoder", &stream_class.decoder},
        {stream, "framing", &stream_class.framing},
        {stream, "_gap", &stream_class.gap},
        {stream, "_gap", &stream_class.gap},
        {stream, "inbox", &stream_class.inbox},
        {stream, "last_activity", &stream_class.last_activity},
        {stream, "layer", &stream_class.layer},
        {stream, "limits", &stream_class.limits},
        {stream, "message_since", &stream_class.message_since},
        {stream, "messages_in", &stream_class.messages_in},
        {stream, "messages_out", &stream_class.messages_out},
        {stream, "octets_in", &stream_class.octets_in},
        {stream, "octets_out", &stream_class.octets_out},
        {stream, "outbox", &stream_class.outbox},
        {stream, "outbox_size", &stream_class.outbox_size},
        {stream, "_paused_at", &stream_class.paused_at},
        {stream, "pending", &stream_class.pending},
        {stream, "_raw", &stream_class.raw},
        {stream, "raw_mode", &stream_class.raw_mode},
        {stream, "read_error", &stream_class.read_error},
        {stream, "reading", &stream_class.reading},
        {stream, "_requests", &stream_class.requests},
        {stream, "tap", &stream_class.tap},
        {stream, "writing", &stream_class.writing},
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (find_slot(slots[i].type, slots[i].name, slots[i].slot) < 0)
            return NULL;
    }
    split = PyCapsule_Import(SPLIT_API, 0);
    if (!split)
        PyErr_Clear(); /* not built: decoders in Python do as well */
    else if (split->stamp != SPLIT_API_STAMP)
        split = NULL;
    Py_XSETREF(half_open, Py_NewRef(open));
    Py_XSETREF(message_error, Py_NewRef(error));
    Py_XSETREF(stream_class.type, (PyTypeObject *)Py_NewRef(stream));
    Py_XSETREF(channel_class.type, (PyTypeObject *)Py_NewRef(channel));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(know_replies_doc, "know_replies(InlineReplies, ReplyAndClose, Unmapped)\n--\n\n"
                               "Learn the driver whose handlers are called from here.");

static PyObject *
know_replies(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *driver, *last, *unmapped;
    if (!PyArg_ParseTuple(arguments, "O!O!O!", &PyType_Type, &driver, &PyType_Type, &last, &PyType_Type, &unmapped))
        return NULL;
    if (find_slot(driver, "_handle", &replies_class.handle) < 0)
        return NULL;
    Py_XSETREF(replies_class.type, (PyTypeObject *)Py_NewRef(driver));
    Py_XSETREF(replies_class.last, (PyTypeObject *)Py_NewRef(last));
    Py_XSETREF(replies_class.unmapped, (PyTypeObject *)Py_NewRef(unmapped));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"know", know, METH_VARARGS, know_doc},
    {"know_replies", know_replies, METH_VARARGS, know_replies_doc},
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
