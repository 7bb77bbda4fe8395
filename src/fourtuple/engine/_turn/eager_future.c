/* The future that a receiving task awaits, in C: engine/eager_future.py documents EagerFuture. */
#include "engine/_turn/turn.h"

/* Whether a task of the loop is running; -1 with an exception. */
static int within_task(PyObject *loop)
{
    PyObject *task = PyObject_CallOneArg(turn_known.current_task, loop);
    int within = task ? task != Py_None : -1;
    Py_XDECREF(task);
    return within;
}

/* Call the wake-up in its context. */
static int go_on(EagerFuture *future, PyObject *callback, PyObject *context)
{
    if (PyContext_Enter(context) < 0)
        return -1;
    PyObject *result = PyObject_CallOneArg(callback, (PyObject *)future);
    PyObject *error = result ? NULL : ft_caught();
    Py_XDECREF(result);
    int status = PyContext_Exit(context);
    if (error) {
        ft_raise(error);
        status = -1;
    }
    return status;
}

int turn_wake(EagerFuture *future, bool at_once)
{
    PyObject *callback = future->callback, *context = future->context;
    if (!callback)
        return 0;
    int within = at_once ? within_task(future->loop) : 1;
    if (within < 0)
        return -1;
    static PyObject *call_names;
    if (!call_names && !(call_names = PyTuple_Pack(1, str.context)))
        return -1;
    int status;
    future->callback = future->context = NULL;
    Py_INCREF(future);
    if (!within) {
        status = go_on(future, callback, context);
    }
    else {
        PyObject *arguments[] = {future->loop, callback, (PyObject *)future, context};
        status = ft_done(PyObject_VectorcallMethod(str.call_soon, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                call_names));
    }
    if (status < 0 && within && !future->callback) { /* the task still waits, for another wake-up */
        future->callback = Py_NewRef(callback);
        future->context = Py_NewRef(context);
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_DECREF(future);
    return status;
}

static PyObject *eager_future_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"loop", NULL};
    PyObject *loop;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O:EagerFuture", names, &loop))
        return NULL;
    if (!turn_known.current_task) {
        PyErr_SetString(PyExc_RuntimeError, "know() comes first");
        return NULL;
    }
    EagerFuture *future = (EagerFuture *)type->tp_alloc(type, 0);
    if (future)
        future->loop = Py_NewRef(loop);
    return (PyObject *)future;
}

static int eager_future_traverse(EagerFuture *future, visitproc visit, void *arg)
{
    Py_VISIT(future->loop);
    Py_VISIT(future->callback);
    Py_VISIT(future->context);
    Py_VISIT(future->cancelled);
    return 0;
}

static int eager_future_clear(EagerFuture *future)
{
    Py_CLEAR(future->callback);
    Py_CLEAR(future->context);
    Py_CLEAR(future->cancelled);
    return 0;
}

static void eager_future_dealloc(EagerFuture *future)
{
    PyObject_GC_UnTrack(future);
    eager_future_clear(future);
    Py_CLEAR(future->loop);
    Py_TYPE(future)->tp_free(future);
}

/* --- awaiting it: an iterator that yields itself once, as `yield self` does --------------------------------------- */

static PyObject *eager_future_next(EagerFuture *future)
{
    if (!future->waiting)
        return begin_waiting(future);
    future->waiting = 0;
    return NULL; /* without an exception: await returns None */
}

PyObject *turn_send_none(PyObject *awaited, PyObject *Py_UNUSED(nothing))
{
    PyObject *yielded = Py_TYPE(awaited)->tp_iternext(awaited);
    if (!yielded && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return yielded;
}

PyObject *turn_raise_thrown(PyObject *const *arguments, Py_ssize_t count)
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

static PyObject *eager_future_throw(EagerFuture *future, PyObject *const *arguments, Py_ssize_t count)
{
    future->waiting = 0;
    return turn_raise_thrown(arguments, count);
}

static PyObject *eager_future_close(EagerFuture *future, PyObject *Py_UNUSED(none))
{
    future->waiting = 0;
    Py_RETURN_NONE;
}

/* --- the interface of a future that a task uses ------------------------------------------------------------------- */

PyDoc_STRVAR(add_done_callback_doc, "add_done_callback($self, callback, /, *, context=None)\n--\n\n"
                                    "Take the wake-up of the task that waits.");

static PyObject *eager_future_add_done_callback(
                                                EagerFuture *future, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    if (count != 1 || named > 1 || (named && PyUnicode_Compare(PyTuple_GET_ITEM(names, 0), str.context))) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback, and context=");
        return NULL;
    }
    PyObject *context = named && arguments[1] != Py_None ? Py_NewRef(arguments[1]) : PyContext_CopyCurrent();
    if (!context)
        return NULL;
    Py_XSETREF(future->callback, Py_NewRef(arguments[0]));
    Py_XSETREF(future->context, context);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "The task is cancelled: let it go on with that. False when it was woken before.");

static PyObject *eager_future_cancel(EagerFuture *future, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|O:cancel", names, &message))
        return NULL;
    if (!future->callback)
        Py_RETURN_FALSE;
    PyObject *error = message == Py_None ? PyObject_CallNoArgs(turn_known.CancelledError)
                                         : PyObject_CallOneArg(turn_known.CancelledError, message);
    if (!error)
        return NULL;
    Py_XSETREF(future->cancelled, error);
    return turn_wake(future, false) < 0 ? NULL : Py_NewRef(Py_True);
}

PyDoc_STRVAR(result_doc, "result($self, /)\n--\n\nNothing; or, once, the cancellation.");

static PyObject *eager_future_result(EagerFuture *future, PyObject *Py_UNUSED(none))
{
    if (!future->cancelled)
        Py_RETURN_NONE;
    PyObject *error = future->cancelled;
    future->cancelled = NULL;
    ft_raise(error);
    return NULL;
}

PyDoc_STRVAR(wake_doc, "wake($self, /, *, at_once=False)\n--\n\n"
                       "Let the task go on: in the loop's next iteration, or ``at_once`` where no other task is running.");

static PyObject *eager_future_wake(EagerFuture *future, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"at_once", NULL};
    int at_once = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|$p:wake", names, &at_once))
        return NULL;
    return turn_wake(future, at_once) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef eager_future_methods[] = {
    {"add_done_callback", FT_FAST(eager_future_add_done_callback), METH_FASTCALL | METH_KEYWORDS,
     add_done_callback_doc},
    {"cancel", FT_FAST(eager_future_cancel), METH_VARARGS | METH_KEYWORDS, cancel_doc},
    {"close", (PyCFunction)eager_future_close, METH_NOARGS, "As a generator's."},
    {"result", (PyCFunction)eager_future_result, METH_NOARGS, result_doc},
    {"send", turn_send_none, METH_O, "As a generator's."},
    {"throw", FT_FAST(eager_future_throw), METH_FASTCALL, "As a generator's."},
    {"wake", FT_FAST(eager_future_wake), METH_VARARGS | METH_KEYWORDS, wake_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef eager_future_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(EagerFuture, blocking), 0, NULL},
    {"_loop", T_OBJECT_EX, offsetof(EagerFuture, loop), READONLY, NULL},
    {"waiting", T_BOOL, offsetof(EagerFuture, waiting), READONLY, "Whether a task waits, or was woken and has not gone on yet."},
    {NULL, 0, 0, 0, NULL},
};

static PyAsyncMethods eager_future_async = {.am_await = PyObject_SelfIter};

PyTypeObject turn_eager_future_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple._turn.EagerFuture",
    .tp_doc = PyDoc_STR("EagerFuture(loop)\n--\n\nSee fourtuple.engine.eager_future: awaited again and again, by one task at a time."),
    .tp_basicsize = sizeof(EagerFuture),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = eager_future_new,
    .tp_dealloc = (destructor)eager_future_dealloc,
    .tp_traverse = (traverseproc)eager_future_traverse,
    .tp_clear = (inquiry)eager_future_clear,
    .tp_as_async = &eager_future_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)eager_future_next,
    .tp_methods = eager_future_methods,
    .tp_members = eager_future_members,
};
