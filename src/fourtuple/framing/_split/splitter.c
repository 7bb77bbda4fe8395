/* The Python type of a splitter: it makes decoders, and encodes. */
#include "framing/_split/split.h"

static const struct {
    const char *name;
    size_t number, object; /* the offset of its field; one of them is 0 */
} options[] = {
#define NUMBER_OPTION(name) {#name, offsetof(Splitter, name), 0},
#define OBJECT_OPTION(name) {#name, 0, offsetof(Splitter, name)},
    SPLITTER_NUMBERS(NUMBER_OPTION) SPLITTER_OBJECTS(OBJECT_OPTION){NULL, 0, 0},
};

static int take_option(Splitter *s, PyObject *name, PyObject *value)
{
    for (int i = 0; options[i].name != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, options[i].name))
            continue;
        if (options[i].object) {
            Py_XSETREF(*(PyObject **)((char *)s + options[i].object), Py_NewRef(value));
            return 0;
        }
        Py_ssize_t number = PyLong_AsSsize_t(value);
        *(Py_ssize_t *)((char *)s + options[i].number) = number;
        return number == -1 && PyErr_Occurred() ? -1 : 0;
    }
    PyErr_Format(PyExc_TypeError, "Splitter() has no option %R", name);
    return -1;
}

/* Compute the other fields from the options. */
static void prepare(Splitter *s)
{
    s->least = 1;
    if (s->size) {
        s->step = split_fixed;
        s->least = s->size;
    }
    else if (s->width) {
        s->step = split_length;
        s->least = s->header = s->offset + s->width;
        s->smallest = Py_MAX(s->header, s->skip);
    }
    else if (s->colon)
        s->step = s->delimiter != NULL ? split_syslog : split_decimal;
    else if (s->delimiter != NULL)
        s->step = split_delimited;
}

static PyObject *splitter_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *named)
{
    const State *state = PyType_GetModuleState(type);
    Splitter *s = (Splitter *)type->tp_alloc(type, 0); /* all fields are 0 or NULL */
    if (s == NULL)
        return NULL;
    s->makes = (PyTypeObject *)Py_NewRef(state->api.decoder);
    s->pool = state->api.pool;
    PyObject *name, *value;
    for (Py_ssize_t at = 0; named != NULL && PyDict_Next(named, &at, &name, &value);)
        if (take_option(s, name, value) < 0) {
            Py_DECREF(s);
            return NULL;
        }
    prepare(s);
    return (PyObject *)s;
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

PyType_Spec split_splitter_spec = {
    .name = "fourtuple.framing._split.Splitter",
    .basicsize = sizeof(Splitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = splitter_slots,
};
