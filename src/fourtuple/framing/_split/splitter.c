/* The Python type of a splitter: it makes decoders, and encodes. */
#include "fields.h"
#include "framing/_split/split.h"

/* For PyArg_ParseTupleAndKeywords(): the name of an option, the letter of its type, and its place. */
#define NAME(name) #name,
#define OBJECT(name) "O"
#define NUMBER(name) "n"
#define PLACE(name) , &s->name
/* The first fields are objects. */
#define OBJECTS ((offsetof(Splitter, max) - sizeof(PyObject)) / sizeof(PyObject *))

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

static PyObject *splitter_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {SPLITTER_OBJECTS(NAME) SPLITTER_NUMBERS(NAME) NULL};
    Splitter *s = (Splitter *)type->tp_alloc(type, 0); /* all fields are 0 or NULL */
    if (s == NULL)
        return NULL;
    bool taken = PyArg_ParseTupleAndKeywords(arguments, named, "|$" SPLITTER_OBJECTS(OBJECT) SPLITTER_NUMBERS(NUMBER),
                                             names SPLITTER_OBJECTS(PLACE) SPLITTER_NUMBERS(PLACE));
    for (size_t i = 0; i < OBJECTS; i++)
        Py_XINCREF(FT_FIRST(s)[i]); /* they are borrowed until here */
    if (taken)
        prepare(s);
    else
        Py_CLEAR(s);
    return (PyObject *)s;
}

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
