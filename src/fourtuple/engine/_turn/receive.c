/* Receiving in an async conversation, in C: the awaitables of `await connection.receive()` and `async for`.
 *
 * A message in the inbox is returned immediately, without a Python frame and without a pass through the loop. The
 * methods of Connection, the twins of this file, decide all other cases: the end, an error, an unmapped message, held
 * octets that may contain more messages.
 */
#include "engine/_turn/turn.h"

#include <sys/epoll.h>

enum state { FRESH, WAITING, OVER };

/* One receive, used as a coroutine: awaited once, or passed to create_task(). One that iterates is what `async for`
 * iterates over, and also its next step: it is FRESH again for each. */
typedef struct {
    PyObject_HEAD
    PyObject *connection;
    PyObject *future; /* an EagerFuture, while it waits */
    enum state state;
    bool iterates;
} Reception;

PyObject *turn_reception(PyObject *connection, bool iterates)
{
    Reception *reception = PyObject_GC_New(Reception, Reception_type);
    if (!reception)
        return NULL;
    reception->connection = Py_NewRef(connection);
    reception->future = NULL;
    reception->state = iterates ? OVER : FRESH;
    reception->iterates = iterates;
    PyObject_GC_Track(reception);
    return (PyObject *)reception;
}

/* --- the next message --------------------------------------------------------------------------------------------- */

static inline bool reads(PyObject *channel)
{
    return PyLong_AsLong(CHANNEL(channel)->mask) & EPOLLIN;
}

/* What the next receive finds: a message in the inbox; or no message, and none in the held octets (Stream.replenish()
 * is the same decision for any decoder); or Python has to decide. */
enum held { A_MESSAGE, NOTHING, PERHAPS };

static inline enum held held(PyObject *stream)
{
    PyObject *inbox = IN(stream)->inbox, *decoder = IN(stream)->decoder;
    if (!PyList_CheckExact(inbox))
        return PERHAPS;
    Py_ssize_t count = PyList_GET_SIZE(inbox);
    if (count)
        return is_a(PyList_GET_ITEM(inbox, count - 1), turn_known.Unmapped) ? PERHAPS : A_MESSAGE;
    return STREAM(stream)->path != turn_known.SPECIAL && splits(decoder) && !split_buffered(decoder) ? NOTHING : PERHAPS;
}

/* Take the next message, as list.pop() does; after the last one, the channel may have to watch for reads again. */
static PySendResult take_message(PyObject *channel, PyObject *stream, PyObject **result)
{
    PyObject *inbox = IN(stream)->inbox;
    Py_ssize_t last = PyList_GET_SIZE(inbox) - 1;
    *result = PyList_GET_ITEM(inbox, last);
    Py_SET_SIZE(inbox, last);
    if (last || (reads(channel) && IN(stream)->gap_at == Py_None) || !ft_done(ft_call0(channel, str.consumed)))
        return PYGEN_RETURN;
    Py_CLEAR(*result);
    return PYGEN_ERROR;
}

/* Let the task wait for the EagerFuture that a method of the connection returns. The cast needs no check: Connection
 * gets the class EagerFuture from this module. */
static PySendResult wait_for(PyObject *connection, PyObject *method, PyObject **result)
{
    PyObject *future = ft_call0(connection, method);
    if (!future)
        return PYGEN_ERROR;
    *result = begin_waiting(future);
    Py_DECREF(future);
    return PYGEN_NEXT;
}

/* The next message, or the future that the task has to wait for. `next` is the method that decides what C cannot. */
static PySendResult next_message(PyObject *connection, PyObject *next, PyObject **result)
{
    PyObject *channel = CONNECTION(connection)->_channel, *stream = CONNECTION(connection)->_stream;
    enum held holds = held(stream);
    if (holds == A_MESSAGE)
        return take_message(channel, stream, result);
    if (holds == NOTHING) {
        if (split_settle(IN(stream)->decoder) < 0)
            return PYGEN_ERROR;
    }
    else {
        *result = ft_call0(connection, next);
        if (*result != turn_known.NOT_YET)
            return *result ? PYGEN_RETURN : PYGEN_ERROR;
        Py_CLEAR(*result);
    }
    PyObject *receiver = receiver_of(connection);
    if (!receiver || !reads(channel))
        return wait_for(connection, str._waiter, result);
    *result = begin_waiting(receiver);
    return PYGEN_NEXT;
}

/* If the share is spent: the future with which the task lets other connections go first. Else PYGEN_RETURN, without a
 * result. */
static PySendResult others_first(PyObject *connection, Share *share, PyObject **result)
{
    int over = spend(share);
    return over < 0 ? PYGEN_ERROR : over ? wait_for(connection, str._behind_others, result) : PYGEN_RETURN;
}

/* Check that this receive may begin: this is the loop's thread, with this share; no other task waits, and no request is
 * outstanding. -1 with an exception. */
static inline int check_sole_receiver(PyObject *connection, Share *share)
{
    if (share && !listens(connection) && ASKED(CONNECTION(connection)->_stream)->_requests == Py_None)
        return 0;
    return ft_done(ft_call0(connection, str._check_sole_receiver));
}

/* Whether the fields are there that a receive needs: the garbage collector clears unreachable connections, and a
 * subclass may have another __init__. */
static inline bool is_whole(PyObject *connection)
{
    if (!connection)
        return false;
    PyObject *channel = CONNECTION(connection)->_channel, *stream = CONNECTION(connection)->_stream;
    return channel && stream && CONNECTION(connection)->_receiver &&
           PyObject_TypeCheck(channel, (PyTypeObject *)turn_known.Channel) &&
           PyObject_TypeCheck(stream, (PyTypeObject *)turn_known.Stream);
}

static inline void give_up(Reception *reception)
{
    if (reception->future)
        ft_put(&FUTURE(reception->future)->waiting, Py_NewRef(Py_False));
    Py_CLEAR(reception->future);
    reception->state = OVER;
}

/* Check that a receive can go on. -1 with an exception. */
static inline int check_goes_on(Reception *reception)
{
    if (reception->state == OVER)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse an already awaited receive");
    else if (reception->future && FUTURE(reception->future)->_callback != Py_None) /* the waiting task was not woken */
        PyErr_SetString(PyExc_RuntimeError, "receive is being awaited already");
    else if (is_whole(reception->connection))
        return 0;
    else {
        give_up(reception);
        PyErr_SetString(PyExc_AttributeError, "the connection is cleared");
    }
    return -1;
}

static PySendResult reception_step(Reception *reception, PyObject *Py_UNUSED(nothing), PyObject **result)
{
    *result = NULL;
    if (check_goes_on(reception) < 0)
        return PYGEN_ERROR;
    PyObject *connection = reception->connection;
    bool begins = reception->state == FRESH;
    /* If it waited for its share, and not for a message, another task may receive now. */
    bool alone = !begins && reception->future == CONNECTION(connection)->_receiver;
    if (!begins)
        give_up(reception);
    reception->state = OVER; /* a re-entrant call finds it in use */
    Share *share = alone ? NULL : turn_share_here(CONNECTION(connection)->_channel);
    PySendResult got = begins && share ? others_first(connection, share, result) : PYGEN_RETURN;
    if (got == PYGEN_RETURN && !alone && check_sole_receiver(connection, share) < 0)
        got = PYGEN_ERROR;
    if (got == PYGEN_RETURN)
        got = next_message(connection, reception->iterates ? str._next_iterated : str._next, result);
    if (got == PYGEN_NEXT) {
        reception->future = Py_NewRef(*result);
        reception->state = WAITING;
    }
    return got;
}

/* --- as a coroutine ----------------------------------------------------------------------------------------------- */

/* Raise StopIteration with a message, which `await` takes out of it immediately. (Not called if `await` uses am_send,
 * which needs no exception.) The exception object is reused unless other code kept a reference to it or let it pass
 * through a frame: creating one costs as much as everything else for a message here. It keeps the last message until the
 * next one, so only small messages use it. */
static void stop_with(PyObject *message)
{
#if PY_VERSION_HEX >= 0x030C0000
    static PyStopIterationObject *kept;
    if (PyBytes_CheckExact(message) && PyBytes_GET_SIZE(message) <= SMALL) {
        if (!kept || Py_REFCNT(kept) != 1 || kept->traceback || kept->context || kept->cause || kept->notes)
            Py_XSETREF(kept, (PyStopIterationObject *)PyObject_CallNoArgs(PyExc_StopIteration));
        if (kept) {
            Py_XSETREF(kept->value, Py_NewRef(message));
            PyErr_SetRaisedException(Py_NewRef((PyObject *)kept));
        }
        return;
    }
#endif
    /* PyErr_SetObject() alone would unpack a tuple into several arguments, and raise an exception value as itself. */
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, message);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
}

static PyObject *reception_next(Reception *reception)
{
    PyObject *result;
    PySendResult got = reception_step(reception, Py_None, &result);
    if (got != PYGEN_RETURN)
        return result;
    if (result != Py_None)
        stop_with(result);
    Py_DECREF(result);
    return NULL;
}

static PyObject *reception_throw(Reception *reception, PyObject *const *arguments, Py_ssize_t count)
{
    if (reception->state == OVER)
        return reception_next(reception); /* raises */
    give_up(reception);
    return PyObject_Vectorcall(turn_known.raise_thrown, arguments, count, NULL);
}

static PyObject *reception_close(Reception *reception, PyObject *Py_UNUSED(none))
{
    give_up(reception);
    Py_RETURN_NONE;
}

static void Reception_dealloc(PyObject *self)
{
    Reception *reception = (Reception *)self;
    /* Warn as coroutines do: no message is lost, but it is a mistake. */
    if (reception->state == FRESH && !reception->iterates) {
        PyObject_GC_UnTrack(self); /* the warning may run any code */
        PyObject *error = PyErr_Occurred() ? ft_caught() : NULL;
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'Connection.receive' was never awaited") < 0)
            PyErr_WriteUnraisable((PyObject *)Py_TYPE(reception));
        if (error)
            ft_raise(error);
    }
    if (reception->future)
        ft_put(&FUTURE(reception->future)->waiting, Py_NewRef(Py_False));
    ft_dealloc_fields(self, 2);
}

/* One step of `async for`. If other code has a reference to the iterator, it may begin a step during another one. Then
 * Python makes an object for each. */
static PyObject *reception_anext(Reception *reception)
{
    if (!reception->iterates) {
        PyErr_SetString(PyExc_TypeError, "receive() returns one message; iterate over the connection itself");
        return NULL;
    }
    if (Py_REFCNT(reception) > 1 && reception->connection)
        return ft_call0(reception->connection, str.__anext__);
    give_up(reception);
    reception->state = FRESH;
    return Py_NewRef(reception);
}

static PyMethodDef reception_methods[] = {
    {"close", (PyCFunction)reception_close, METH_NOARGS, NULL},
    {"throw", FT_FAST(reception_throw), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

FT_OBJECT(Reception, Py_TPFLAGS_DISALLOW_INSTANTIATION, 2,
          {Py_tp_doc, "What receive() returns: awaited, it is the next message; or the messages that `async for` gets."},
          {Py_am_await, PyObject_SelfIter}, {Py_am_send, reception_step},
          {Py_am_aiter, PyObject_SelfIter}, {Py_am_anext, reception_anext}, {Py_tp_iter, PyObject_SelfIter},
          {Py_tp_iternext, reception_next}, {Py_tp_methods, reception_methods})
