/* A splitter as Python sees it: it makes decoders, and encodes. */
#include "framing/_split/split.h"

static PyObject *splitter_decoder(Splitter *s, PyObject *Py_UNUSED(none)) { return split_new_decoder(s); }

PyDoc_STRVAR(encode_many_doc,
             "encode_many(messages)\n--\n\n"
             "The octets of a list of messages; None where something is unusual or refused, and Python is to say what.");

static int splitter_traverse(Splitter *s, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(s));
    Py_VISIT(s->makes);
    Py_VISIT(s->framing);
    Py_VISIT(s->scalars);
    Py_VISIT(s->words);
    Py_VISIT(s->push);
    Py_VISIT(s->pairs);
    Py_VISIT(s->members);
    Py_VISIT(s->simple);
    return 0;
}

/* The framing holds the splitter, and the splitter the framing: a circle that the garbage collector undoes. Only its
 * dictionary need let go for that, so the splitter stays whole as long as a decoder has it. */
static void splitter_dealloc(Splitter *s)
{
    PyTypeObject *type = Py_TYPE(s);
    PyObject_GC_UnTrack(s);
    Py_XDECREF(s->makes);
    Py_XDECREF(s->framing);
    Py_XDECREF(s->lead);
    Py_XDECREF(s->delimiters);
    Py_XDECREF(s->scalars);
    Py_XDECREF(s->words);
    Py_XDECREF(s->push);
    Py_XDECREF(s->pairs);
    Py_XDECREF(s->members);
    Py_XDECREF(s->simple);
    PyMem_Free(s->spans);
    type->tp_free(s);
    Py_DECREF(type);
}

static PyMethodDef splitter_methods[] = {
    {"decoder", (PyCFunction)splitter_decoder, METH_NOARGS, "decoder()\n--\n\nMake the decoder of one connection."},
    {"encode_many", split_encode_many, METH_O, encode_many_doc},
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
