/* Receiving in an async conversation, in C: the awaitables of `await connection.receive()` and `async for`.
 *
 * A message in the inbox is returned immediately, without a Python frame and without a pass through the loop. The
 * methods of Connection, the twins of this file, decide all other cases: the end, an error, an unmapped message, held
 * octets that may contain more messages.
 */
#include "engine/_turn/turn.h"

#include <sys/epoll.h>

enum state { FRESH, WAITING, OVER };

/* One receive, used as a coroutine: awaited once, or passed to create_task(). An ITERATOR is what `async for` iterates
 * over, and also its next step, unless other code has a reference to it: then it makes another object for the step. */
typedef struct {
    PyObject_HEAD
    PyObject *connection;
    PyObject *future; /* an EagerFuture, while it waits */
    enum state state;
    bool iterates; /* ends by StopAsyncIteration where receive() raises EndOfFile */
} Reception;

static inline bool is_whole(PyObject *connection)
{
    if (!connection)
        return false;
    PyObject *channel = CONNECTION(connection)->_channel, *stream = CONNECTION(connection)->_stream;
    return channel && stream && CONNECTION(connection)->_receiver &&
           PyObject_TypeCheck(channel, (PyTypeObject *)turn_known.Channel) &&
           PyObject_TypeCheck(stream, (PyTypeObject *)turn_known.Stream);
}

PyObject *turn_reception(PyObject *connection, ReceptionKind kind)
{
    Reception *reception = is_whole(connection) ? PyObject_GC_New(Reception, Reception_type) : NULL;
    if (!reception)
        return NULL;
    reception->connection = Py_NewRef(connection);
    reception->future = NULL;
    reception->state = kind == ITERATOR ? OVER : FRESH;
    reception->iterates = kind != RECEIVE_CALL;
    PyObject_GC_Track(reception);
    return (PyObject *)reception;
}

bool turn_in_its_thread(PyObject *channel)
{
    PyObject *engine = CHANNEL(channel)->engine;
    if (!engine || !PyObject_TypeCheck(engine, (PyTypeObject *)turn_known.Engine))
        return false;
    PyObject *thread = ENGINE(engine)->thread;
    return thread && PyLong_CheckExact(thread) && PyLong_AsUnsignedLongMask(thread) == PyThread_get_thread_ident();
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

/* The next message, or the future that the task has to wait for. */
static PySendResult next_message(PyObject *connection, PyObject **result)
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
        *result = ft_call0(connection, str._next);
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
static PySendResult others_first(PyObject *connection, PyObject **result)
{
    PyObject *channel = CONNECTION(connection)->_channel;
    Share *share = turn_in_its_thread(channel) ? share_of(channel) : NULL; /* no share in another thread */
    int over = share ? spend(share) : 0;
    return over < 0 ? PYGEN_ERROR : over ? wait_for(connection, str._behind_others, result) : PYGEN_RETURN;
}

/* Check that this receive may begin: this is the loop's thread, no other task waits, and no request is outstanding. -1
 * with an exception. */
static inline int check_sole_receiver(PyObject *connection)
{
    if (!listens(connection) && ASKED(CONNECTION(connection)->_stream)->_requests == Py_None &&
        turn_in_its_thread(CONNECTION(connection)->_channel))
        return 0;
    return ft_done(ft_call0(connection, str._check_sole_receiver));
}

/* Convert the exception that ends the receive, as an iteration or a coroutine requires. */
static void let_out(Reception *reception)
{
    if (reception->iterates && (PyErr_ExceptionMatches(turn_known.EndOfFile) ||
                                PyErr_ExceptionMatches(turn_known.ConnectionEnded))) {
        PyErr_Clear(); /* the peer has finished, or this side has closed */
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    else if (PyErr_ExceptionMatches(PyExc_StopIteration)) { /* PEP 479: await would take it for a result */
        PyObject *cause = ft_caught();
        PyErr_SetString(PyExc_RuntimeError, "receiving raised StopIteration");
        PyObject *error = ft_caught();
        if (error)
            PyException_SetCause(error, cause);
        else
            Py_DECREF(cause);
        ft_raise(error);
    }
}

static void stop_waiting(Reception *reception)
{
    if (reception->future)
        ft_put(&FUTURE(reception->future)->waiting, Py_NewRef(Py_False));
    Py_CLEAR(reception->future);
}

static PySendResult reception_step(Reception *reception, PyObject *Py_UNUSED(nothing), PyObject **result)
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
        if (FUTURE(reception->future)->_callback != Py_None) { /* the waiting task was not woken: another task awaits this */
            PyErr_SetString(PyExc_RuntimeError, "receive is being awaited already");
            return PYGEN_ERROR;
        }
        /* If it waited for its share instead, another task may receive now: that is checked below. */
        alone = reception->future == CONNECTION(reception->connection)->_receiver;
        stop_waiting(reception);
    }
    reception->state = OVER; /* a re-entrant call finds it in use */
    PySendResult got = begins ? others_first(reception->connection, result) : PYGEN_RETURN;
    if (got == PYGEN_RETURN && !alone && check_sole_receiver(reception->connection) < 0)
        got = PYGEN_ERROR;
    if (got == PYGEN_RETURN)
        got = next_message(reception->connection, result);
    if (got == PYGEN_NEXT) {
        reception->future = Py_NewRef(*result);
        reception->state = WAITING;
    }
    else if (got == PYGEN_ERROR) {
        let_out(reception);
    }
    return got;
}

/* --- as a coroutine ----------------------------------------------------------------------------------------------- */

/* Raise StopIteration with a value of any type. PyErr_SetObject() alone would unpack a tuple into several arguments,
 * and raise an exception value as itself. */
static void stop_with(PyObject *value)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
}

/* The same for a message, which `await` takes out of the exception immediately. The exception object is reused unless
 * other code kept a reference to it or let it pass through a frame: creating one costs as much as everything else for
 * a message here. It keeps the last message until the next one, so only small messages use it. (Not called if `await`
 * uses am_send, which needs no exception.) */
static void stop_with_message(PyObject *message)
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

static PyObject *reception_next(Reception *reception)
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

static void give_up(Reception *reception)
{
    stop_waiting(reception);
    reception->state = OVER;
}

/* As a coroutine's; the value sent is ignored. */
static PyObject *reception_send(PyObject *reception, PyObject *Py_UNUSED(nothing))
{
    PyObject *yielded = reception_next((Reception *)reception);
    if (!yielded && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return yielded;
}

static PyObject *reception_throw(Reception *reception, PyObject *const *arguments, Py_ssize_t count)
{
    if (reception->state == OVER) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse an already awaited receive");
        return NULL;
    }
    give_up(reception);
    return PyObject_Vectorcall(turn_known.raise_thrown, arguments, count, NULL);
}

static PyObject *reception_close(Reception *reception, PyObject *Py_UNUSED(none))
{
    give_up(reception);
    Py_RETURN_NONE;
}

/* Warn as coroutines do if the receive was never awaited. No message is lost, but it is a mistake. */
static void warn_unless_begun(Reception *reception)
{
    if (reception->state != FRESH)
        return;
    PyObject *error = PyErr_Occurred() ? ft_caught() : NULL;
    const char *name = reception->iterates ? "__anext__" : "receive";
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'Connection.%s' was never awaited", name) < 0)
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(reception));
    if (error)
        ft_raise(error);
}

static void Reception_dealloc(PyObject *self)
{
    Reception *reception = (Reception *)self;
    PyObject_GC_UnTrack(reception); /* the warning may run any code */
    warn_unless_begun(reception);
    give_up(reception);
    Py_CLEAR(reception->connection);
    PyTypeObject *type = Py_TYPE(reception);
    PyObject_GC_Del(reception);
    Py_DECREF(type);
}

static PyObject *reception_aiter(Reception *reception)
{
    if (reception->iterates)
        return Py_NewRef((PyObject *)reception);
    PyErr_SetString(PyExc_TypeError, "receive() returns one message; iterate over the connection itself");
    return NULL;
}

/* One step of `async for`. */
static PyObject *reception_anext(Reception *reception)
{
    if (Py_REFCNT(reception) == 1) {
        warn_unless_begun(reception);
        give_up(reception);
        reception->state = FRESH;
        return Py_NewRef(reception);
    }
    PyObject *step = turn_reception(reception->connection, ITERATION);
    if (!step && !PyErr_Occurred())
        PyErr_SetString(PyExc_AttributeError, "the connection is cleared");
    return step;
}

static PyMethodDef reception_methods[] = {
    {"close", (PyCFunction)reception_close, METH_NOARGS, NULL},
    {"send", reception_send, METH_O, NULL},
    {"throw", FT_FAST(reception_throw), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

FT_OBJECT(Reception, Py_TPFLAGS_DISALLOW_INSTANTIATION, 2,
          {Py_tp_doc, "What receive() returns: awaited, it is the next message; or the messages that `async for` gets."},
          {Py_am_await, PyObject_SelfIter}, {Py_am_send, reception_step},
          {Py_am_aiter, reception_aiter}, {Py_am_anext, reception_anext}, {Py_tp_iter, PyObject_SelfIter},
          {Py_tp_iternext, reception_next}, {Py_tp_methods, reception_methods})
