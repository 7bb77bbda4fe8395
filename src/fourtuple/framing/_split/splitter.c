/* The Python type of a splitter: it makes decoders, and encodes. */
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
    else if (s->scalars != NULL)
        s->step = split_resp;
    else {
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

static PyMethodDef splitter_methods[] = {
    {"decoder", (PyCFunction)split_new_decoder, METH_NOARGS, NULL},
    {"encode_many", split_encode_many, METH_O, NULL},
    {0},
};

/* The framing refers to the splitter, and the splitter to the framing: a cycle that the garbage collector breaks. A
 * decoder does not show it its reference to the splitter, which is therefore not cleared as long as it has decoders. */
FT_DEALLOC(Splitter, OBJECTS)
FT_OBJECT(Splitter, Py_TPFLAGS_IMMUTABLETYPE, OBJECTS,
          {Py_tp_doc, "Splitter(**options): what the options of a framing come to (see split.h); makes its decoders."},
          {Py_tp_new, splitter_new}, {Py_tp_methods, splitter_methods})
