/* The Python type of a splitter: it makes decoders, and encodes. */
#include "framing/_split/split.h"

static PyObject *splitter_decoder(Splitter *s, PyObject *Py_UNUSED(none)) { return split_new_decoder(s); }

static const struct {
    const char *name;
    size_t number, object; /* the offset of its field; one of them is 0 */
} options[] = {
#define NUMBER_OPTION(name) {#name, offsetof(Splitter, name), 0},
#define OBJECT_OPTION(name) {#name, 0, offsetof(Splitter, name)},
    SPLITTER_NUMBERS(NUMBER_OPTION) SPLITTER_OBJECTS(OBJECT_OPTION){NULL, 0, 0},
};

/* framing.max_sent; -1 without a bound or without this attribute, -2 with an exception. */
static Py_ssize_t bound_of_sending(PyObject *framing)
{
    PyObject *most = PyObject_GetAttrString(framing, "max_sent");
    if (most == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return -1;
    }
    /* A bound larger than any object can be is reduced to that size. */
    Py_ssize_t bound = most == NULL ? -2 : most == Py_None ? -1 : PyNumber_AsSsize_t(most, NULL);
    Py_XDECREF(most);
    return bound < 0 && PyErr_Occurred() ? -2 : bound;
}

static int take_option(Splitter *s, PyObject *name, PyObject *value)
{
    for (int i = 0; options[i].name != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, options[i].name))
            continue;
        if (options[i].object) {
            *(PyObject **)((char *)s + options[i].object) = Py_NewRef(value);
            return 0;
        }
        Py_ssize_t number = PyLong_AsSsize_t(value);
        *(Py_ssize_t *)((char *)s + options[i].number) = number;
        return number == -1 && PyErr_Occurred() ? -1 : 0;
    }
    PyErr_Format(PyExc_TypeError, "splitter() has no option %R", name);
    return -1;
}

/* Compute the other fields from the options. */
static int prepare(Splitter *s)
{
    s->least = 1;
    if (s->lead != NULL && !PyBytes_GET_SIZE(s->lead))
        Py_CLEAR(s->lead);
    s->colon_is = s->colon != NULL ? *PyBytes_AS_STRING(s->colon) : 0;
    s->has_comma = s->comma != NULL && PyBytes_GET_SIZE(s->comma) == 1;
    s->comma_is = s->has_comma ? *PyBytes_AS_STRING(s->comma) : 0;
    if (s->size) {
        s->step = split_fixed;
        s->least = s->size;
    }
    else if (s->width) {
        s->step = split_length;
        s->least = s->header = s->offset + s->width;
        s->smallest = Py_MAX(s->header, s->skip);
    }
    else if (s->digits)
        s->step = s->delimiter != NULL ? split_syslog : split_decimal;
    else if (s->delimiter != NULL)
        s->step = split_delimited;
    if (s->max_depth > DEEPEST) {
        PyErr_Format(PyExc_ValueError, "max_depth is %zd, it must be at most %d", s->max_depth, DEEPEST);
        return -1;
    }
    return 0;
}

Splitter *split_new_splitter(PyTypeObject *type, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = count == 1 && names != NULL ? PyTuple_GET_SIZE(names) : 0;
    Splitter *s = (Splitter *)type->tp_alloc(type, 0); /* all fields are 0 or NULL */
    if (s == NULL)
        return NULL;
    s->max = -1;
    if (named == 0)
        PyErr_SetString(PyExc_TypeError, "splitter() takes a framing, and options by their names");
    else
        s->framing = Py_NewRef(arguments[0]);
    for (Py_ssize_t i = 0; i < named && !PyErr_Occurred(); i++)
        take_option(s, PyTuple_GET_ITEM(names, i), arguments[1 + i]);
    if (!PyErr_Occurred())
        s->max_sent = bound_of_sending(s->framing);
    if (PyErr_Occurred() || prepare(s) < 0)
        Py_CLEAR(s);
    return s;
}

#define VISIT(name) Py_VISIT(s->name);
#define LET_GO(name) Py_XDECREF(s->name);

static int splitter_traverse(Splitter *s, visitproc visit, void *arg)
{
    SPLITTER_OBJECTS(VISIT)
    Py_VISIT(Py_TYPE(s));
    Py_VISIT(s->makes);
    return 0;
}

/* The framing refers to the splitter, and the splitter to the framing: a cycle that the garbage collector breaks.
 * Clearing the framing's dictionary is enough for that, so there is no tp_clear: the splitter stays whole as long as a
 * decoder refers to it. */
static void splitter_dealloc(Splitter *s)
{
    PyTypeObject *type = Py_TYPE(s);
    PyObject_GC_UnTrack(s);
    SPLITTER_OBJECTS(LET_GO)
    Py_XDECREF(s->makes);
    type->tp_free(s);
    Py_DECREF(type);
}

static PyMethodDef splitter_methods[] = {
    {"decoder", (PyCFunction)splitter_decoder, METH_NOARGS, NULL},
    {"encode_many", split_encode_many, METH_O, NULL},
    {0},
};

static PyType_Slot splitter_slots[] = {
    {Py_tp_doc, "What the options of one framing come to; makes its decoders."},
    {Py_tp_dealloc, splitter_dealloc},
    {Py_tp_traverse, splitter_traverse},
    {Py_tp_methods, splitter_methods},
    {0},
};

PyType_Spec split_splitter_spec = {
    .name = "fourtuple.framing._split.Splitter",
    .basicsize = sizeof(Splitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = splitter_slots,
};
