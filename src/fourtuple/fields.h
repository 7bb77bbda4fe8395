/* Types whose instances consist of objects, which the garbage collector visits: FT_OBJECT().
 *
 * Some are base types of Python classes, whose fields C reads and writes. Without C, the same fields are __slots__ of a
 * class. Such a type is a table, #define X_FIELDS(F, T) F(T, name) ..., and two lines: FT_FIELDS(X, X_FIELDS) in a
 * header, FT_BASE(X, X_FIELDS, slot) in one source file. All fields are objects: Python reads only object members as
 * fast as __slots__. A twin in Python has the same __slots__ (see fast_path.fields(); a test compares them). Only one
 * base of a class may have fields: two such bases would conflict in their layout.
 */
#ifndef FOURTUPLE_FIELDS_H
#define FOURTUPLE_FIELDS_H

#include "compiled.h"

#define FT_FIELD(T, name) PyObject *name;
#define FT_DECLARE(Type)                                                                                               \
    extern PyTypeObject *Type##_type;                                                                                  \
    int Type##_add_to(PyObject *module);
#define FT_FIELDS(Type, FIELDS)                                                                                        \
    typedef struct {                                                                                                   \
        PyObject_HEAD FIELDS(FT_FIELD, Type)                                                                           \
    } Type;                                                                                                            \
    FT_DECLARE(Type)

/* Assign a field. Steals `value`. */
static inline void ft_put(PyObject **field, PyObject *value)
{
    PyObject *old = *field;
    *field = value;
    Py_XDECREF(old);
}

static inline int ft_add(PyObject **field, Py_ssize_t more)
{
    PyObject *sum;
    Py_ssize_t now = PyLong_AsSsize_t(*field);
    if ((now == -1 && PyErr_Occurred()) || !(sum = PyLong_FromSsize_t(now + more)))
        return -1;
    ft_put(field, sum);
    return 0;
}

/* --- for the one source file that defines a type ------------------------------------------------------------------ */

#define FT_COUNT(Type) ((sizeof(Type) - sizeof(PyObject)) / sizeof(PyObject *))
#define FT_FIRST(self) ((PyObject **)((PyObject *)(self) + 1))

static inline int ft_traverse_fields(PyObject *self, size_t count, visitproc visit, void *arg)
{
    for (size_t i = 0; i < count; i++)
        Py_VISIT(FT_FIRST(self)[i]);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static inline int ft_clear_fields(PyObject *self, size_t count)
{
    for (size_t i = 0; i < count; i++)
        Py_CLEAR(FT_FIRST(self)[i]);
    return 0;
}

static inline void ft_dealloc_fields(PyObject *self, size_t count)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    ft_clear_fields(self, count);
    type->tp_free(self);
    Py_DECREF(type);
}

static inline int ft_add_type(PyObject *module, PyTypeObject **type, PyType_Spec *spec)
{
    if (!*type && !(*type = (PyTypeObject *)PyType_FromSpec(spec)))
        return -1;
    return PyModule_AddType(module, *type);
}

/* A type whose first `count` fields are objects or NULL; more slots of the type follow. Type##_dealloc() is defined
 * before it: by FT_DEALLOC(), or by hand if more has to be done. */
#define FT_DEALLOC(Type, count)                                                                                        \
    static void Type##_dealloc(PyObject *self) { ft_dealloc_fields(self, count); }
#define FT_OBJECT(Type, more_flags, count, ...)                                                                        \
    PyTypeObject *Type##_type;                                                                                         \
    static int Type##_traverse(PyObject *self, visitproc visit, void *arg)                                             \
    {                                                                                                                  \
        return ft_traverse_fields(self, count, visit, arg);                                                            \
    }                                                                                                                  \
    static int Type##_clear(PyObject *self) { return ft_clear_fields(self, count); }                                   \
    static PyType_Slot Type##_slots[] = {                                                                              \
        {Py_tp_traverse, Type##_traverse}, {Py_tp_clear, Type##_clear}, {Py_tp_dealloc, Type##_dealloc},               \
        __VA_ARGS__, {0, NULL},                                                                                        \
    };                                                                                                                 \
    static PyType_Spec Type##_spec = {                                                                                 \
        .name = "fourtuple._fast_path." #Type,                                                                         \
        .basicsize = sizeof(Type),                                                                                     \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | (more_flags),                                               \
        .slots = Type##_slots,                                                                                         \
    };                                                                                                                 \
    int Type##_add_to(PyObject *module) { return ft_add_type(module, &Type##_type, &Type##_spec); }

#define FT_MEMBER(T, name) {#name, T_OBJECT_EX, offsetof(T, name), 0, NULL},
#define FT_BASE(Type, FIELDS, ...)                                                                                     \
    static PyMemberDef Type##_members[] = {FIELDS(FT_MEMBER, Type){NULL, 0, 0, 0, NULL}};                              \
    FT_DEALLOC(Type, FT_COUNT(Type))                                                                                   \
    FT_OBJECT(Type, Py_TPFLAGS_BASETYPE, FT_COUNT(Type), {Py_tp_members, Type##_members}, __VA_ARGS__)

#endif
