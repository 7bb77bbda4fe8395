/* Receiving in an async conversation, in C: what `await connection.receive()` and `async for` wait for.
 *
 * A message that is in the inbox is given at once, without a frame of Python and without a way through the loop. Whatever
 * is not usual (the end, an error, a message that does not map, octets held that may be more messages) the methods of
 * Connection decide, which are the twins of what stands here.
 */
#ifndef FOURTUPLE_TURN_RECEIVE_H
#define FOURTUPLE_TURN_RECEIVE_H

#include "calls.h"
#include "in.h"
#include "neighbours.h"
#include "share.h"
#include "wait.h"

#include <stdbool.h>
#include <sys/epoll.h>

static struct {
    PyTypeObject *type;
    Slot channel, receiver, stream;
    PyObject *anext, *receive, *send; /* the twins in Python */
    PyObject *unmapped, *end_of_file, *ended;
    Slot gap_at; /* of Stream */
} connection_class;

static PyObject *str_arrived, *str_behind_others, *str_check_sole_receiver, *str_consumed, *str_next, *str_others_first,
    *str_waiter;

enum state { FRESH, WAITING, OVER };

/* One receive, as a coroutine: awaited once, or made a task of. */
typedef struct {
    PyObject_HEAD
    PyObject *connection;
    EagerFuture *future; /* while it waits */
    enum state state;
    bool iterates; /* ends by StopAsyncIteration where a receive raises EndOfFile */
} Reception;

static PyTypeObject reception_type;

/* Whether a connection holds what is looked for without asking: a subclass may begin otherwise, and the garbage
 * collector empties those that are its. */
static inline bool
is_whole(PyObject *connection)
{
    PyObject *channel = get(connection, connection_class.channel), *stream = get(connection, connection_class.stream);
    return channel && stream && get(connection, connection_class.receiver) &&
           PyObject_TypeCheck(channel, channel_class.type) && PyObject_TypeCheck(stream, stream_class.type);
}

static Reception *
new_reception(PyObject *connection, bool iterates)
{
    Reception *reception = PyObject_GC_New(Reception, &reception_type);
    if (!reception)
        return NULL;
    reception->connection = Py_NewRef(connection);
    reception->future = NULL;
    reception->state = FRESH;
    reception->iterates = iterates;
    PyObject_GC_Track(reception);
    return reception;
}

/* --- the next message ----------------------------------------------------------------------------------------------- */

static inline bool
reads(PyObject *channel)
{
    return PyLong_AsLong(get(channel, channel_class.mask)) & EPOLLIN;
}

/* Take the next message of the inbox, where there is one that maps: 1; 0 where not, -1 with an exception. */
static inline int
take_message(PyObject *channel, PyObject *stream, PyObject **message)
{
    PyObject *inbox = get(stream, stream_class.inbox);
    Py_ssize_t last = PyList_CheckExact(inbox) ? PyList_GET_SIZE(inbox) - 1 : -1;
    if (last < 0 || (PyObject *)Py_TYPE(PyList_GET_ITEM(inbox, last)) == connection_class.unmapped)
        return 0;
    *message = PyList_GET_ITEM(inbox, last); /* as list.pop() takes it */
    Py_SET_SIZE(inbox, last);
    if (last || (reads(channel) && get(stream, connection_class.gap_at) == Py_None))
        return 1;
    if (!done(call0(channel, str_consumed)))
        return 1;
    Py_CLEAR(*message);
    return -1;
}

/* With the inbox empty: whether nothing can come of what was read, as Stream.spent() says for any decoder. */
static inline bool
spent(PyObject *stream)
{
    PyObject *decoder = get(stream, stream_class.decoder);
    return splits(decoder) && !split->buffered(decoder) && get(stream, stream_class.reading) == half_open &&
           get(stream, stream_class.raw) == Py_None && get(stream, stream_class.read_error) == Py_None &&
           get(stream, stream_class.closing) == Py_False && get(stream, stream_class.raw_mode) == Py_False;
}

/* The next message, or what the task has to wait for. */
static PySendResult
next_message(PyObject *connection, PyObject **result)
{
    PyObject *channel = get(connection, connection_class.channel), *stream = get(connection, connection_class.stream);
    int taken = take_message(channel, stream, result);
    if (taken)
        return taken > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    PyObject *inbox = get(stream, stream_class.inbox);
    if (PyList_CheckExact(inbox) && !PyList_GET_SIZE(inbox) && spent(stream)) {
        if (split->settle(get(stream, stream_class.decoder)) < 0)
            return PYGEN_ERROR;
    }
    else {
        PyObject *arrived = call0(connection, str_arrived);
        int has = arrived ? PyObject_IsTrue(arrived) : -1;
        Py_XDECREF(arrived);
        if (has < 0)
            return PYGEN_ERROR;
        if (has) {
            *result = call0(connection, str_next);
            return *result ? PYGEN_RETURN : PYGEN_ERROR;
        }
    }
    PyObject *receiver = get(connection, connection_class.receiver);
    if (Py_IS_TYPE(receiver, &eager_future_type) && reads(channel)) {
        *result = begin_waiting((EagerFuture *)receiver);
        return PYGEN_NEXT;
    }
    receiver = call0(connection, str_waiter);
    if (!receiver)
        return PYGEN_ERROR;
    *result = begin_waiting((EagerFuture *)receiver); /* of this type, or Connection was told of another */
    Py_DECREF(receiver);
    return PYGEN_NEXT;
}

/* What a task waits for that has had its share of the loop: the others come first. PYGEN_RETURN, without a result, where
 * it has not. */
static PySendResult
others_first(PyObject *connection, PyObject **result)
{
    PyObject *channel = get(connection, connection_class.channel);
    Share *share = in_its_thread(channel) ? share_of(channel) : NULL; /* in another one nothing is done */
    int over = share ? spend(share) : 0;
    if (over <= 0)
        return over < 0 ? PYGEN_ERROR : PYGEN_RETURN;
    PyObject *future = call0(connection, str_behind_others);
    if (!future)
        return PYGEN_ERROR;
    *result = begin_waiting((EagerFuture *)future); /* of this type, as that of _waiter() */
    Py_DECREF(future);
    return PYGEN_NEXT;
}

/* Whether this receive may begin: in the loop's thread, nobody else waits, no request is outstanding. -1 with an
 * exception. */
static inline int
check_sole_receiver(PyObject *connection)
{
    PyObject *receiver = get(connection, connection_class.receiver);
    bool busy = Py_IS_TYPE(receiver, &eager_future_type) && ((EagerFuture *)receiver)->waiting;
    if (!busy && get(get(connection, connection_class.stream), stream_class.requests) == Py_None &&
        in_its_thread(get(connection, connection_class.channel)))
        return 0;
    return done(call0(connection, str_check_sole_receiver));
}

/* The end of the receive with the exception that is set, as a coroutine or an iteration lets it out. */
static void
let_out(Reception *reception)
{
    if (reception->iterates && (PyErr_ExceptionMatches(connection_class.end_of_file) ||
                                PyErr_ExceptionMatches(connection_class.ended))) {
        PyErr_Clear(); /* the peer has finished, or this side has */
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    else if (PyErr_ExceptionMatches(PyExc_StopIteration)) { /* PEP 479: it would look like a message */
        PyObject *cause = caught();
        PyErr_SetString(PyExc_RuntimeError, "receiving raised StopIteration");
        PyObject *error = caught();
        if (error)
            PyException_SetCause(error, cause);
        else
            Py_DECREF(cause);
        raise(error);
        Py_DECREF(error);
    }
}

static PySendResult
reception_step(Reception *reception, PyObject *Py_UNUSED(nothing), PyObject **result)
{
    *result = NULL;
    if (reception->state == OVER) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse an already awaited receive");
        return PYGEN_ERROR;
    }
    if (!is_whole(reception->connection)) {
        reception->state = OVER;
        PyErr_SetString(PyExc_AttributeError, "the connection is cleared");
        return PYGEN_ERROR;
    }
    bool begins = reception->state == FRESH, alone = false;
    if (!begins) {
        if (reception->future->callback) { /* nobody has woken who waits: this is somebody else */
            PyErr_SetString(PyExc_RuntimeError, "receive is being awaited already");
            return PYGEN_ERROR;
        }
        /* Or it let others go first, and one of them receives now. */
        alone = (PyObject *)reception->future == get(reception->connection, connection_class.receiver);
        reception->future->waiting = 0;
        Py_CLEAR(reception->future);
    }
    reception->state = OVER; /* whoever looks at it from within finds it at work */
    PySendResult got = begins ? others_first(reception->connection, result) : PYGEN_RETURN;
    if (got == PYGEN_RETURN && !alone && check_sole_receiver(reception->connection) < 0)
        got = PYGEN_ERROR;
    if (got == PYGEN_RETURN)
        got = next_message(reception->connection, result);
    if (got == PYGEN_NEXT) {
        reception->future = (EagerFuture *)Py_NewRef(*result);
        reception->state = WAITING;
    }
    else if (got == PYGEN_ERROR) {
        let_out(reception);
    }
    return got;
}

/* --- as a coroutine ------------------------------------------------------------------------------------------------- */

/* Raise StopIteration with a value of any kind: a tuple would be taken for several, an exception for itself. */
static void
stop_with(PyObject *value)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
}

/* The same with a message, which `await` takes out of the exception at once: the same one again, unless somebody kept
 * it, or let it pass through a frame. Making one costs as much as all else that a message costs here. What it held last
 * it holds until the next, so that is to be small. (Where `await` asks for no exception this is not called.) */
static void
stop_with_message(PyObject *message)
{
#if PY_VERSION_HEX >= 0x030C0000
    static PyStopIterationObject *stop;
    if (PyBytes_CheckExact(message) && PyBytes_GET_SIZE(message) <= SMALL) {
        if (!stop || Py_REFCNT(stop) != 1 || stop->traceback || stop->context || stop->cause || stop->notes)
            Py_XSETREF(stop, (PyStopIterationObject *)PyObject_CallNoArgs(PyExc_StopIteration));
        if (stop) {
            Py_XSETREF(stop->value, Py_NewRef(message));
            PyErr_SetRaisedException(Py_NewRef((PyObject *)stop));
        }
        return;
    }
#endif
    stop_with(message);
}

static PyObject *
reception_next(Reception *reception)
{
    PyObject *result;
    PySendResult got = reception_step(reception, Py_None, &result);
    if (got != PYGEN_RETURN)
        return result;
    if (result != Py_None)
        stop_with_message(result);
    Py_DECREF(result);
    return NULL;
}

static PyObject *
reception_send(Reception *reception, PyObject *Py_UNUSED(nothing))
{
    PyObject *result;
    PySendResult got = reception_step(reception, Py_None, &result);
    if (got != PYGEN_RETURN)
        return result;
    stop_with(result);
    Py_DECREF(result);
    return NULL;
}

static void
give_up(Reception *reception)
{
    if (reception->future)
        reception->future->waiting = 0;
    Py_CLEAR(reception->future);
    reception->state = OVER;
}

static PyObject *
reception_throw(Reception *reception, PyObject *const *arguments, Py_ssize_t count)
{
    if (reception->state == OVER) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse an already awaited receive");
        return NULL;
    }
    give_up(reception);
    return raise_thrown(arguments, count);
}

static PyObject *
reception_close(Reception *reception, PyObject *Py_UNUSED(none))
{
    give_up(reception);
    Py_RETURN_NONE;
}

/* Somebody forgot to await: nothing is lost by it, and it is a mistake nevertheless. As coroutines have it. */
static void
warn_unless_begun(Reception *reception)
{
    if (reception->state != FRESH)
        return;
    PyObject *error = PyErr_Occurred() ? caught() : NULL;
    const char *name = reception->iterates ? "__anext__" : "receive";
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'Connection.%s' was never awaited", name) < 0)
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(reception));
    if (error)
        raise(error);
    Py_XDECREF(error);
}

static int
reception_traverse(Reception *reception, visitproc visit, void *arg)
{
    Py_VISIT(reception->connection);
    Py_VISIT(reception->future);
    return 0;
}

static int
reception_clear(Reception *reception)
{
    give_up(reception);
    return 0;
}

static void
reception_dealloc(Reception *reception)
{
    PyObject_GC_UnTrack(reception);
    warn_unless_begun(reception);
    give_up(reception);
    Py_CLEAR(reception->connection);
    PyObject_GC_Del(reception);
}

static PyMethodDef reception_methods[] = {
    {"close", (PyCFunction)reception_close, METH_NOARGS, "As a coroutine's."},
    {"send", (PyCFunction)reception_send, METH_O, "As a coroutine's."},
    {"throw", (PyCFunction)(void (*)(void))reception_throw, METH_FASTCALL, "As a coroutine's."},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods reception_async = {.am_await = PyObject_SelfIter, .am_send = (sendfunc)reception_step};

static PyTypeObject reception_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple.engine._turn.Reception",
    .tp_doc = PyDoc_STR("What receive() returns: awaited, it is the next message."),
    .tp_basicsize = sizeof(Reception),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)reception_dealloc,
    .tp_traverse = (traverseproc)reception_traverse,
    .tp_clear = (inquiry)reception_clear,
    .tp_as_async = &reception_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)reception_next,
    .tp_methods = reception_methods,
};

#endif
