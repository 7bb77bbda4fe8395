/* The part of EagerFuture that each wait needs: a task begins to wait, is woken, and continues. The rest is Python:
 * engine/eager_future.py, which documents the class. */
#include "engine/_turn/turn.h"

int turn_within_task(PyObject *loop)
{
    PyObject *task = PyObject_CallOneArg(turn_known.current_task, loop);
    int within = task ? task != Py_None : -1;
    Py_XDECREF(task);
    return within;
}

int turn_wake(PyObject *future)
{
    EagerFutureFields *fields = FUTURE(future);
    if (fields->_callback == Py_None)
        return 0;
    int within = turn_within_task(fields->_loop);
    if (within)
        return within < 0 ? -1 : ft_done(ft_call0(future, str.wake));
    PyObject *callback = fields->_callback, *context = Py_NewRef(fields->_context);
    fields->_callback = Py_NewRef(Py_None);
    Py_INCREF(future);
    int status = PyContext_Enter(context);
    if (!status) {
        status = ft_done(PyObject_CallOneArg(callback, future));
        if (PyContext_Exit(context) < 0) /* as Context.run(): the exception of the call may be set */
            status = -1;
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_DECREF(future);
    return status;
}

static PyObject *add_done_callback(PyObject *future, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0; /* a task gives its context */
    if (count != 1 || named > 1) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback, and context=");
        return NULL;
    }
    PyObject *context = named && arguments[1] != Py_None ? Py_NewRef(arguments[1]) : PyContext_CopyCurrent();
    if (!context)
        return NULL;
    ft_put(&FUTURE(future)->_callback, Py_NewRef(arguments[0]));
    ft_put(&FUTURE(future)->_context, context);
    Py_RETURN_NONE;
}

static PyObject *result(PyObject *future, PyObject *Py_UNUSED(none))
{
    PyObject *cancelled = FUTURE(future)->_cancelled;
    if (cancelled == Py_None)
        return Py_NewRef(cancelled);
    FUTURE(future)->_cancelled = Py_NewRef(Py_None);
    ft_raise(cancelled);
    return NULL;
}

static PyMethodDef methods[] = {
    {"add_done_callback", FT_FAST(add_done_callback), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"result", result, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

FT_BASE(EagerFutureFields, EAGER_FUTURE_FIELDS, {Py_tp_methods, methods})
