/* Handing over to the Python: calls of methods, and exceptions as objects. */
#ifndef FOURTUPLE_TURN_CALLS_H
#define FOURTUPLE_TURN_CALLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

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

/* Hand the exception that is set to a method, of whatever kind it is. */
static int
hand_error(PyObject *object, PyObject *method)
{
    PyObject *error = caught();
    int status = done(call1(object, method, error));
    Py_DECREF(error);
    return status;
}

#endif
