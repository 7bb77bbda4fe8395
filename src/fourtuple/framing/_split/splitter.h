/* A splitter as Python sees it: it makes decoders, and encodes. */
#ifndef FOURTUPLE_SPLIT_SPLITTER_H
#define FOURTUPLE_SPLIT_SPLITTER_H

#include "decoder.h"
#include "encode.h"

static PyObject *splitter_decoder(Splitter *s, PyObject *Py_UNUSED(none)) { return new_decoder(s); }

PyDoc_STRVAR(encode_many_doc,
             "encode_many(messages)\n--\n\n"
             "The octets of a list of messages; None where something is unusual or refused, and Python is to say what.");

static PyObject *encode_these(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    int knows = (s->width && s->skip == s->header) || (s->digits && (s->spans == NULL || s->counting)) ||
                (s->count == 1 && !s->keep && !s->digits);
    if (s->simple != NULL)
        return encode_resp(s, messages, count);
    if (s->size)
        return encode_fixed(s, messages, count);
    if (knows)
        return encode_all(s, messages, count);
    Py_RETURN_NONE;
}

static PyObject *encode_many(PyObject *splitter, PyObject *messages)
{
    if (PyList_CheckExact(messages))
        return encode_these((Splitter *)splitter, ((PyListObject *)messages)->ob_item, PyList_GET_SIZE(messages));
    Py_RETURN_NONE;
}

static PyObject *encode_one(PyObject *splitter, PyObject *message)
{
    return encode_these((Splitter *)splitter, &message, 1);
}

static PyObject *splitter_encode_many(Splitter *s, PyObject *messages) { return encode_many((PyObject *)s, messages); }

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
    {"encode_many", (PyCFunction)splitter_encode_many, METH_O, encode_many_doc},
    {0},
};

static PyType_Slot splitter_slots[] = {
    {Py_tp_doc, "What the options of one framing come to; makes its decoders."},
    {Py_tp_dealloc, splitter_dealloc},
    {Py_tp_traverse, splitter_traverse},
    {Py_tp_methods, splitter_methods},
    {0},
};

static PyType_Spec splitter_spec = {
    .name = "fourtuple.framing._split.Splitter",
    .basicsize = sizeof(Splitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = splitter_slots,
};

#endif
