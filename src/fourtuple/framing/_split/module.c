/* The module of the splitters, and the Python type of a splitter: it makes decoders, and encodes. */
#include "fields.h"
#include "framing/_split/split.h"

/* The version of the interface between this file and splitting.py, which refuses a build with another version. */
#define STAMP 8

typedef struct {
    SplitApi api;
    Pool pool;
} State;

/* --- splitters ---------------------------------------------------------------------------------------------------- */

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
    State *state = PyType_GetModuleState(type);
    Splitter *s = (Splitter *)type->tp_alloc(type, 0); /* all fields are 0 or NULL */
    if (s == NULL)
        return NULL;
    s->makes = (PyTypeObject *)Py_NewRef(state->api.decoder);
    s->pool = &state->pool; /* the type keeps the module alive, and so its state */
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
    .name = "fourtuple.framing._split.Splitter",
    .basicsize = sizeof(Splitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = splitter_slots,
};

/* --- the module --------------------------------------------------------------------------------------------------- */

#ifdef FOURTUPLE_COUNT
/* work(): octets searched and copied since the last call. */
static PyObject *work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *both = Py_BuildValue("LL", split_searched, split_copied);
    split_searched = split_copied = 0;
    return both;
}
#endif

static PyMethodDef methods[] = {
#ifdef FOURTUPLE_COUNT
    {"work", work, METH_NOARGS, NULL},
#endif
    {0},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->api = split_api;
    state->api.pool = &state->pool;
    if (add_type(module, &splitter_spec, &state->api.splitter) < 0 ||
        add_type(module, &split_decoder_spec, &state->api.decoder) < 0)
        return -1;
    PyObject *api = PyCapsule_New(&state->api, SPLIT_API, NULL);
    int added = api == NULL ? -1 : PyModule_AddObjectRef(module, "api", api);
    Py_XDECREF(api);
    return added < 0 ? -1 : PyModule_AddIntMacro(module, STAMP);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->api.splitter);
    Py_VISIT(state->api.decoder);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->api.splitter);
    Py_CLEAR(state->api.decoder);
    pool_empty(&state->pool);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

FT_MODULE(_split, FT_ANY_INTERPRETER, module_exec, .m_doc = "The splitters in C; see fourtuple.framing.splitting.",
          .m_size = sizeof(State), .m_traverse = module_traverse, .m_clear = module_clear, .m_free = module_free)
