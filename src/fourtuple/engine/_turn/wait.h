/* What a task waits for when it receives, in C: the Waiter of engine/eager_future.py, which says what it is. */
#ifndef FOURTUPLE_TURN_WAIT_H
#define FOURTUPLE_TURN_WAIT_H

#include "calls.h"

#include <stdbool.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *loop;      /* the task looks at it: whether it is its own */
    PyObject *callback;  /* the wake-up of the task that waits, or NULL */
    PyObject *context;   /* and where to call it */
    PyObject *cancelled; /* the CancelledError that the task is to go on with, or NULL */
    char blocking;       /* as asyncio has it: yielded by await */
    char waiting;        /* whether a task waits, or was woken and has not gone on yet */
} Waiter;

static PyTypeObject waiter_type;

static struct {
    PyObject *current_task, *cancelled_error; /* asyncio's */
} known_asyncio;

static PyObject *str_call_soon, *str_context, *call_soon_names;

static int
prepare_waiting(void)
{
    if (!str_call_soon && !(str_call_soon = PyUnicode_InternFromString("call_soon")))
        return -1;
    if (!str_context && !(str_context = PyUnicode_InternFromString("context")))
        return -1;
    if (!call_soon_names && !(call_soon_names = PyTuple_Pack(1, str_context)))
        return -1;
    return PyType_Ready(&waiter_type);
}

PyDoc_STRVAR(know_asyncio_doc, "know_asyncio(current_task, CancelledError)\n--\n\n"
                               "Learn what a Waiter asks of asyncio.");

static PyObject *
know_asyncio(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *current_task, *cancelled_error;
    if (!PyArg_ParseTuple(arguments, "OO", &current_task, &cancelled_error))
        return NULL;
    Py_XSETREF(known_asyncio.current_task, Py_NewRef(current_task));
    Py_XSETREF(known_asyncio.cancelled_error, Py_NewRef(cancelled_error));
    Py_RETURN_NONE;
}

/* Whether a task of the loop is running; -1 with an exception. */
static int
within_task(PyObject *loop)
{
    PyObject *task = PyObject_CallOneArg(known_asyncio.current_task, loop);
    int within = task ? task != Py_None : -1;
    Py_XDECREF(task);
    return within;
}

/* Call the wake-up in its context. */
static int
go_on(Waiter *waiter, PyObject *callback, PyObject *context)
{
    if (PyContext_Enter(context) < 0)
        return -1;
    PyObject *result = PyObject_CallOneArg(callback, (PyObject *)waiter);
    PyObject *error = result ? NULL : caught();
    Py_XDECREF(result);
    int status = PyContext_Exit(context);
    if (error) {
        raise(error);
        Py_DECREF(error);
        status = -1;
    }
    return status;
}

/* Let the task go on: in the loop's next iteration, or at once where no other task is running. */
static int
wake(Waiter *waiter, bool at_once)
{
    PyObject *callback = waiter->callback, *context = waiter->context;
    if (!callback)
        return 0;
    int within = at_once ? within_task(waiter->loop) : 1;
    if (within < 0)
        return -1;
    int status;
    waiter->callback = waiter->context = NULL;
    Py_INCREF(waiter);
    if (!within) {
        status = go_on(waiter, callback, context);
    }
    else {
        PyObject *arguments[] = {waiter->loop, callback, (PyObject *)waiter, context};
        status = done(PyObject_VectorcallMethod(str_call_soon, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                call_soon_names));
    }
    if (status < 0 && within && !waiter->callback) { /* the task still waits: for another wake-up */
        waiter->callback = Py_NewRef(callback);
        waiter->context = Py_NewRef(context);
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_DECREF(waiter);
    return status;
}

static PyObject *
waiter_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"loop", NULL};
    PyObject *loop;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O:Waiter", names, &loop))
        return NULL;
    if (!known_asyncio.current_task) {
        PyErr_SetString(PyExc_RuntimeError, "know_asyncio() comes first");
        return NULL;
    }
    Waiter *waiter = (Waiter *)type->tp_alloc(type, 0);
    if (waiter)
        waiter->loop = Py_NewRef(loop);
    return (PyObject *)waiter;
}

static int
waiter_traverse(Waiter *waiter, visitproc visit, void *arg)
{
    Py_VISIT(waiter->loop);
    Py_VISIT(waiter->callback);
    Py_VISIT(waiter->context);
    Py_VISIT(waiter->cancelled);
    return 0;
}

static int
waiter_clear(Waiter *waiter)
{
    Py_CLEAR(waiter->callback);
    Py_CLEAR(waiter->context);
    Py_CLEAR(waiter->cancelled);
    return 0;
}

static void
waiter_dealloc(Waiter *waiter)
{
    PyObject_GC_UnTrack(waiter);
    waiter_clear(waiter);
    Py_CLEAR(waiter->loop);
    Py_TYPE(waiter)->tp_free(waiter);
}

/* --- awaiting it: an iterator over itself, once, as `yield self` is ------------------------------------------------- */

/* Begin to wait: what the task is given. */
static inline PyObject *
begin_waiting(Waiter *waiter)
{
    waiter->waiting = waiter->blocking = 1;
    return Py_NewRef((PyObject *)waiter);
}

static PyObject *
waiter_next(Waiter *waiter)
{
    if (!waiter->waiting)
        return begin_waiting(waiter);
    waiter->waiting = 0;
    return NULL; /* and no exception: None */
}

static PyObject *
waiter_send(Waiter *waiter, PyObject *Py_UNUSED(nothing))
{
    PyObject *yielded = waiter_next(waiter);
    if (!yielded)
        PyErr_SetNone(PyExc_StopIteration);
    return yielded;
}

/* Raise what throw(type[, value[, traceback]]) was given, as generators do. */
static PyObject *
raise_thrown(PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *type = count ? arguments[0] : Py_None, *value = count > 1 ? arguments[1] : Py_None;
    PyObject *trace = count > 2 && arguments[2] != Py_None ? arguments[2] : NULL;
    if (count > 3 || (trace && !PyTraceBack_Check(trace)) ||
        !(PyExceptionClass_Check(type) || (PyExceptionInstance_Check(type) && value == Py_None))) {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception, or its class, value and traceback");
        return NULL;
    }
    if (PyExceptionInstance_Check(type)) {
        value = type;
        type = (PyObject *)Py_TYPE(value);
    }
    if (!trace && value != Py_None && PyExceptionInstance_Check(value))
        trace = PyException_GetTraceback(value);
    else
        Py_XINCREF(trace);
    PyErr_Restore(Py_NewRef(type), Py_NewRef(value), trace);
    return NULL;
}

static PyObject *
waiter_throw(Waiter *waiter, PyObject *const *arguments, Py_ssize_t count)
{
    waiter->waiting = 0;
    return raise_thrown(arguments, count);
}

static PyObject *
waiter_close(Waiter *waiter, PyObject *Py_UNUSED(none))
{
    waiter->waiting = 0;
    Py_RETURN_NONE;
}

/* --- what a task asks of a future ----------------------------------------------------------------------------------- */

PyDoc_STRVAR(add_done_callback_doc, "add_done_callback($self, callback, /, *, context=None)\n--\n\n"
                                    "Take the wake-up of the task that waits.");

static PyObject *
waiter_add_done_callback(Waiter *waiter, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    if (count != 1 || named > 1 || (named && PyUnicode_Compare(PyTuple_GET_ITEM(names, 0), str_context))) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback, and context=");
        return NULL;
    }
    PyObject *context = named && arguments[1] != Py_None ? Py_NewRef(arguments[1]) : PyContext_CopyCurrent();
    if (!context)
        return NULL;
    Py_XSETREF(waiter->callback, Py_NewRef(arguments[0]));
    Py_XSETREF(waiter->context, context);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "The task is cancelled: let it go on with that. False when it was woken before.");

static PyObject *
waiter_cancel(Waiter *waiter, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|O:cancel", names, &message))
        return NULL;
    if (!waiter->callback)
        Py_RETURN_FALSE;
    PyObject *error = message == Py_None ? PyObject_CallNoArgs(known_asyncio.cancelled_error)
                                         : PyObject_CallOneArg(known_asyncio.cancelled_error, message);
    if (!error)
        return NULL;
    Py_XSETREF(waiter->cancelled, error);
    return wake(waiter, false) < 0 ? NULL : Py_NewRef(Py_True);
}

PyDoc_STRVAR(result_doc, "result($self, /)\n--\n\nNothing; or, once, the cancellation.");

static PyObject *
waiter_result(Waiter *waiter, PyObject *Py_UNUSED(none))
{
    if (!waiter->cancelled)
        Py_RETURN_NONE;
    PyObject *error = waiter->cancelled;
    waiter->cancelled = NULL;
    raise(error);
    Py_DECREF(error);
    return NULL;
}

PyDoc_STRVAR(wake_doc, "wake($self, /, *, at_once=False)\n--\n\n"
                       "Let the task go on: in the loop's next iteration, or ``at_once`` where no other task is running.");

static PyObject *
waiter_wake(Waiter *waiter, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"at_once", NULL};
    int at_once = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|$p:wake", names, &at_once))
        return NULL;
    return wake(waiter, at_once) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef waiter_methods[] = {
    {"add_done_callback", (PyCFunction)(void (*)(void))waiter_add_done_callback, METH_FASTCALL | METH_KEYWORDS,
     add_done_callback_doc},
    {"cancel", (PyCFunction)(void (*)(void))waiter_cancel, METH_VARARGS | METH_KEYWORDS, cancel_doc},
    {"close", (PyCFunction)waiter_close, METH_NOARGS, "As a generator's."},
    {"result", (PyCFunction)waiter_result, METH_NOARGS, result_doc},
    {"send", (PyCFunction)waiter_send, METH_O, "As a generator's."},
    {"throw", (PyCFunction)(void (*)(void))waiter_throw, METH_FASTCALL, "As a generator's."},
    {"wake", (PyCFunction)(void (*)(void))waiter_wake, METH_VARARGS | METH_KEYWORDS, wake_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef waiter_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Waiter, blocking), 0, NULL},
    {"_loop", T_OBJECT_EX, offsetof(Waiter, loop), READONLY, NULL},
    {"waiting", T_BOOL, offsetof(Waiter, waiting), READONLY, "Whether a task waits, or was woken and has not gone on yet."},
    {NULL, 0, 0, 0, NULL},
};

static PyAsyncMethods waiter_async = {.am_await = PyObject_SelfIter};

static PyTypeObject waiter_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple.engine._turn.Waiter",
    .tp_doc = PyDoc_STR("Waiter(loop)\n--\n\nSee fourtuple.engine.eager_future: awaited again and again, by one task at a time."),
    .tp_basicsize = sizeof(Waiter),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = waiter_new,
    .tp_dealloc = (destructor)waiter_dealloc,
    .tp_traverse = (traverseproc)waiter_traverse,
    .tp_clear = (inquiry)waiter_clear,
    .tp_as_async = &waiter_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)waiter_next,
    .tp_methods = waiter_methods,
    .tp_members = waiter_members,
};

#endif
