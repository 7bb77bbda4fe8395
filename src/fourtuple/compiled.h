/* Shared by all modules in C: how a module is made, and how C calls Python. compiled.py decides which modules run. */
#ifndef FOURTUPLE_COMPILED_H
#define FOURTUPLE_COMPILED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

/* --- a module ----------------------------------------------------------------------------------------------------- */

/* An entry of a method table for a function of more than two parameters. */
#define FT_FAST(function) ((PyCFunction)(void (*)(void))(function))

/* A connection belongs to its thread, and nothing here takes a lock: a free-threaded build has to enable the GIL. */
#if PY_VERSION_HEX >= 0x030D0000
#define FT_NEEDS_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#define FT_NEEDS_GIL
#endif

/* The module `name` with the functions of methods[]. `started` initializes it: an expression with `module`, false with
 * an exception. `stamp`: see compiled.py; it is raised when the interface to its Python neighbours changes. */
#define FT_MODULE(name, stamp, doc, started)                                                                           \
    static int module_exec(PyObject *module)                                                                           \
    {                                                                                                                  \
        if (PyInterpreterState_Get() != PyInterpreterState_Main()) /* static variables belong to one interpreter */    \
            PyErr_SetString(PyExc_ImportError, "it serves the main interpreter alone");                                \
        else if (started)                                                                                              \
            return PyModule_AddIntConstant(module, "STAMP", stamp);                                                    \
        return -1;                                                                                                     \
    }                                                                                                                  \
    static PyModuleDef_Slot module_slots[] = {                                                                         \
        {Py_mod_exec, module_exec}, FT_NEEDS_GIL{0, NULL},                                                             \
    };                                                                                                                 \
    static struct PyModuleDef module_definition = {                                                                    \
        PyModuleDef_HEAD_INIT, .m_name = #name, .m_doc = doc, .m_methods = methods, .m_slots = module_slots};          \
    PyMODINIT_FUNC PyInit_##name(void) { return PyModuleDef_Init(&module_definition); }

/* --- lists -------------------------------------------------------------------------------------------------------- */

#define FT_MOST_FORESEEN 256 /* the most items for which room is allocated in advance */

/* Allocate room for so many items of a list that has none: once, not for every eight. */
static inline void ft_foresee(PyObject *to, Py_ssize_t count)
{
#ifndef Py_GIL_DISABLED /* another thread may read the list there: its fields are its own */
    PyListObject *list = (PyListObject *)to;
    count = Py_MIN(count, FT_MOST_FORESEEN);
    if (PyList_CheckExact(to) && !list->ob_item && (list->ob_item = PyMem_New(PyObject *, count)))
        list->allocated = count;
#else
    (void)to, (void)count;
#endif
}

/* Append an item; steals it. */
static inline int ft_append(PyObject *to, PyObject *item)
{
#ifndef Py_GIL_DISABLED
    PyListObject *list = (PyListObject *)to;
    if (PyList_CheckExact(to) && Py_SIZE(list) < list->allocated) {
        list->ob_item[Py_SIZE(list)] = item;
        Py_SET_SIZE(list, Py_SIZE(list) + 1);
        return 0;
    }
#endif
    int status = PyList_Append(to, item);
    Py_DECREF(item);
    return status;
}

/* --- calls of Python ---------------------------------------------------------------------------------------------- */

static inline PyObject *ft_call0(PyObject *object, PyObject *method)
{
    return PyObject_VectorcallMethod(method, &object, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline PyObject *ft_call1(PyObject *object, PyObject *method, PyObject *argument)
{
    PyObject *arguments[] = {object, argument};
    return PyObject_VectorcallMethod(method, arguments, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline int ft_done(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Fetch the exception that is set, as an object with its traceback, and clear it. */
static inline PyObject *ft_caught(void)
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

/* Set an exception fetched by ft_caught(). Steals `error`. */
static inline void ft_raise(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

/* Call a method with the exception that is set, of any class. */
static inline int ft_hand_error(PyObject *object, PyObject *method)
{
    PyObject *error = ft_caught();
    int status = ft_done(ft_call1(object, method, error));
    Py_DECREF(error);
    return status;
}

#endif
