/* The module of the splitters: a function for each kind of framing. */
#include "framing/_split/split.h"

/* The number of the interface between this file and splitting.py; a build of another number is refused there. */
#define STAMP 4

typedef struct {
    PyTypeObject *splitter, *decoder;
    Pool pool;
    SplitApi api;
} State;

/* framing.max_sent, -1 without a bound or where it has none; -2 with an exception. */
static Py_ssize_t bound_of_sending(PyObject *framing)
{
    PyObject *most = PyObject_GetAttrString(framing, "max_sent");
    if (most == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return -1;
    }
    /* What is larger than any object could be is cut to that. */
    Py_ssize_t bound = most == NULL ? -2 : most == Py_None ? -1 : PyNumber_AsSsize_t(most, NULL);
    Py_XDECREF(most);
    return bound < 0 && PyErr_Occurred() ? -2 : bound;
}

static Splitter *new_splitter(PyObject *module, PyObject *framing, Step (*step)(Decoder *, Batch *))
{
    State *state = PyModule_GetState(module);
    Py_ssize_t max_sent = bound_of_sending(framing);
    Splitter *s = max_sent < -1 ? NULL : (Splitter *)state->splitter->tp_alloc(state->splitter, 0); /* all nothing */
    if (s == NULL)
        return NULL;
    s->makes = (PyTypeObject *)Py_NewRef(state->decoder);
    s->framing = Py_NewRef(framing);
    s->pool = &state->pool; /* the type keeps the module, whose state it is */
    s->step = step;
    s->least = 1;
    s->max = -1;
    s->max_sent = max_sent;
    return s;
}

/* The delimiters as spans: of a tuple that is kept. */
static int read_delimiters(Splitter *s, PyObject *delimiters)
{
    s->delimiters = Py_NewRef(delimiters);
    s->count = PyTuple_GET_SIZE(delimiters);
    s->spans = PyMem_Calloc((size_t)s->count, sizeof(Span));
    if (s->spans == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < s->count; i++) {
        char *octets;
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(delimiters, i), &octets, &s->spans[i].size) < 0)
            return -1;
        s->spans[i].octets = octets;
        s->longest = Py_MAX(s->longest, s->spans[i].size);
        s->begins[(unsigned char)octets[0]] = 1;
    }
    return 0;
}

static PyObject *made(Splitter *s, int read)
{
    if (!read)
        Py_CLEAR(s);
    return (PyObject *)s;
}

PyDoc_STRVAR(fixed_doc, "fixed(framing, size)\n--\n\nMessages of one size.");

static PyObject *make_fixed(PyObject *module, PyObject *args)
{
    PyObject *framing;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "On:fixed", &framing, &size))
        return NULL;
    Splitter *s = new_splitter(module, framing, split_fixed);
    if (s != NULL)
        s->least = s->size = size;
    return (PyObject *)s;
}

PyDoc_STRVAR(length_doc,
             "length(framing, width, little, offset, plus, skip, lead, max)\n--\n\n"
             "Messages behind a binary length; the whole has plus octets more than it says.");

static PyObject *make_length(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *lead;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, split_length);
    if (s == NULL)
        return NULL;
    if (!PyArg_ParseTuple(args, "OnpnLnSn:length", &framing, &s->width, &s->little, &s->offset, &s->plus, &s->skip,
                          &lead, &s->max))
        return made(s, 0);
    s->lead = PyBytes_GET_SIZE(lead) ? Py_NewRef(lead) : NULL;
    s->least = s->header = s->offset + s->width;
    s->smallest = Py_MAX(s->header, s->skip);
    return (PyObject *)s;
}

PyDoc_STRVAR(delimited_doc,
             "delimited(framing, delimiters, keep, swallow, resync, strip_cr, max)\n--\n\n"
             "Messages that end with a delimiter.");

static PyObject *make_delimited(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *delimiters;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, split_delimited);
    if (s == NULL)
        return NULL;
    return made(s, PyArg_ParseTuple(args, "OO!ppppn:delimited", &framing, &PyTuple_Type, &delimiters, &s->keep,
                                    &s->swallows, &s->resync, &s->strip_cr, &s->max) &&
                       read_delimiters(s, delimiters) == 0);
}

PyDoc_STRVAR(decimal_doc,
             "decimal(framing, digits, colon, comma, max)\n--\n\n"
             "Messages behind a length of decimal digits and a colon; comma is empty or ends them.");

static PyObject *make_decimal(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *comma;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, split_decimal);
    if (s == NULL)
        return NULL;
    if (!PyArg_ParseTuple(args, "OncSn:decimal", &framing, &s->digits, &s->colon, &comma, &s->max))
        return made(s, 0);
    s->has_comma = PyBytes_GET_SIZE(comma) == 1;
    s->comma = PyBytes_AS_STRING(comma)[0];
    return (PyObject *)s;
}

PyDoc_STRVAR(syslog_doc,
             "syslog(framing, trailers, counting, digits, max)\n--\n\n"
             "Messages behind a count where they begin with a digit from 1 to 9; that end with a trailer, if not.\n"
             "counting says whether they are written behind a count.");

static PyObject *make_syslog(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *trailers;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, split_syslog);
    if (s == NULL)
        return NULL;
    s->colon = ' ';
    return made(s, PyArg_ParseTuple(args, "OO!pnn:syslog", &framing, &PyTuple_Type, &trailers, &s->counting, &s->digits,
                                    &s->max) &&
                       read_delimiters(s, trailers) == 0);
}

PyDoc_STRVAR(resp_doc,
             "resp(framing, three, inline, max_count, max_depth, max, max_memory, value, text, scalars, words,\n"
             "     push, pairs, members, simple)\n--\n\n"
             "Values of RESP, with three of RESP3. A value is charged `value` and its octets against max_memory, text in\n"
             "an error `text` for each. scalars makes what begins with an octet of text, words what an inline command is;\n"
             "push, pairs, members and simple are the classes of such values.");

static PyObject *make_resp(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *scalars, *words, *push, *pairs, *members, *simple;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, NULL);
    if (s == NULL)
        return NULL;
    if (!PyArg_ParseTuple(args, "OppnnnnnnO!OOOOO!:resp", &framing, &s->three, &s->inline_commands, &s->max_count,
                          &s->max_depth, &s->max, &s->max_memory, &s->value, &s->text, &PyDict_Type, &scalars, &words,
                          &push, &pairs, &members, &PyType_Type, &simple))
        return made(s, 0);
    if (s->max_depth > DEEPEST) {
        PyErr_Format(PyExc_ValueError, "max_depth is %zd, it must be at most %d", s->max_depth, DEEPEST);
        return made(s, 0);
    }
    s->scalars = Py_NewRef(scalars);
    s->words = Py_NewRef(words);
    s->push = Py_NewRef(push);
    s->pairs = Py_NewRef(pairs);
    s->members = Py_NewRef(members);
    s->simple = (PyTypeObject *)Py_NewRef(simple);
    return (PyObject *)s;
}

#ifdef FOURTUPLE_COUNT
PyDoc_STRVAR(work_doc, "work()\n--\n\nOctets searched and copied since the last call.");

static PyObject *work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *both = Py_BuildValue("LL", split_searched, split_copied);
    split_searched = split_copied = 0;
    return both;
}
#endif

static PyMethodDef methods[] = {
    {"fixed", make_fixed, METH_VARARGS, fixed_doc},
    {"length", make_length, METH_VARARGS, length_doc},
    {"delimited", make_delimited, METH_VARARGS, delimited_doc},
    {"decimal", make_decimal, METH_VARARGS, decimal_doc},
    {"syslog", make_syslog, METH_VARARGS, syslog_doc},
    {"resp", make_resp, METH_VARARGS, resp_doc},
#ifdef FOURTUPLE_COUNT
    {"work", work, METH_NOARGS, work_doc},
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
    if (add_type(module, &split_splitter_spec, &state->splitter) < 0 ||
        add_type(module, &split_decoder_spec, &state->decoder) < 0)
        return -1;
    if (PyModule_AddIntConstant(module, "MAX_DEPTH", DEEPEST) < 0)
        return -1;
    state->api = split_api;
    state->api.decoder = state->decoder;
    state->api.splitter = state->splitter;
    state->api.pool = &state->pool;
    PyObject *api = PyCapsule_New(&state->api, SPLIT_API, NULL);
    int added = api == NULL ? -1 : PyModule_AddObjectRef(module, "api", api);
    Py_XDECREF(api);
    return added < 0 ? -1 : PyModule_AddIntMacro(module, STAMP);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->splitter);
    Py_VISIT(state->decoder);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->splitter);
    Py_CLEAR(state->decoder);
    pool_empty(&state->pool);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

#ifdef FOURTUPLE_COUNT
#define INTERPRETERS FT_MAIN_INTERPRETER /* the counts are static */
#else
#define INTERPRETERS FT_ANY_INTERPRETER
#endif

FT_MODULE(_split, INTERPRETERS, module_exec, .m_doc = "The splitters in C; see fourtuple.framing.splitting.",
          .m_size = sizeof(State), .m_traverse = module_traverse, .m_clear = module_clear, .m_free = module_free)
