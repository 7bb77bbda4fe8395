/* The Python type of a splitter: it makes decoders, and encodes. */
#include "fields.h"
#include "framing/_split/split.h"

static PyMemberDef options[] = {
#define NUMBER_OPTION(name) {#name, T_PYSSIZET, offsetof(Splitter, name), 0, NULL},
#define OBJECT_OPTION(name) {#name, T_OBJECT, offsetof(Splitter, name), 0, NULL},
    SPLITTER_NUMBERS(NUMBER_OPTION) SPLITTER_OBJECTS(OBJECT_OPTION){NULL, 0, 0, 0, NULL},
};

static int take_option(Splitter *s, PyObject *name, PyObject *value)
{
    for (PyMemberDef *option = options; option->name != NULL; option++)
        if (!PyUnicode_CompareWithASCIIString(name, option->name))
            return PyMember_SetOne((char *)s, option, value);
    PyErr_Format(PyExc_TypeError, "Splitter() has no option %R", name);
    return -1;
}

/* Compute the other fields from the options. */
static void prepare(Splitter *s)
{
    s->least = 1;
    if (s->colon)
        s->step = s->delimiter != NULL ? split_syslog : split_decimal;
    else if (s->delimiter != NULL)
        s->step = split_delimited;
    else if (s->scalars == NULL) {
        s->step = s->width ? split_length : split_fixed;
        s->header = s->offset + s->width;
        s->least = s->width ? s->header : s->plus;
        s->smallest = Py_MAX(1, Py_MAX(s->header, s->skip));
    }
}

static PyObject *splitter_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *named)
{
    Splitter *s = (Splitter *)type->tp_alloc(type, 0); /* all fields are 0 or NULL */
    if (s == NULL)
        return NULL;
    PyObject *name, *value;
    for (Py_ssize_t at = 0; named != NULL && PyDict_Next(named, &at, &name, &value);)
        if (take_option(s, name, value) < 0) {
            Py_DECREF(s);
            return NULL;
        }
    prepare(s);
    return (PyObject *)s;
}

/* Its first fields are objects. */
#define OBJECTS ((offsetof(Splitter, max) - sizeof(PyObject)) / sizeof(PyObject *))

static int splitter_traverse(PyObject *self, visitproc visit, void *arg)
{
    return ft_traverse_fields(self, OBJECTS, visit, arg);
}

/* The framing refers to the splitter, and the splitter to the framing: a cycle that the garbage collector breaks.
 * Clearing the framing's dictionary is enough for that, so there is no tp_clear: the splitter stays whole as long as a
 * decoder refers to it. */
static void splitter_dealloc(PyObject *self) { ft_dealloc_fields(self, OBJECTS); }

static PyMethodDef splitter_methods[] = {
    {"decoder", (PyCFunction)split_new_decoder, METH_NOARGS, NULL},
    {"encode_many", split_encode_many, METH_O, NULL},
    {0},
};

static PyType_Slot splitter_slots[] = {
    {Py_tp_doc, "Splitter(**options): what the options of one framing come to (see split.h); makes its decoders."},
    {Py_tp_new, splitter_new},
    {Py_tp_dealloc, splitter_dealloc},
    {Py_tp_traverse, splitter_traverse},
    {Py_tp_methods, splitter_methods},
    {0},
};

static PyType_Spec splitter_spec = {
    .name = "fourtuple._fast_path.Splitter",
    .basicsize = sizeof(Splitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = splitter_slots,
};

/* --- the types ---------------------------------------------------------------------------------------------------- */

PyTypeObject *split_decoder_type, *splitter_type;

int split_start(PyObject *module)
{
    if (ft_add_type(module, &splitter_type, &splitter_spec) < 0)
        return -1;
    return ft_add_type(module, &split_decoder_type, &split_decoder_spec);
}
