/* The decoder of one connection: it implements Decoder of base.py, which documents the methods, with the window and
 * the steps. */
#include "framing/_split/split.h"

PyObject *split_new_decoder(Splitter *s, PyObject *Py_UNUSED(none))
{
    Decoder *d = (Decoder *)Decoder_type->tp_alloc(Decoder_type, 0); /* all fields are 0 or NULL */
    if (d == NULL)
        return NULL;
    d->splitter = (Splitter *)Py_NewRef(s);
    d->need = s->least;
    return (PyObject *)d;
}

void split_reset(Decoder *d)
{
    end_batch(d);
    Py_CLEAR(d->head);
    Py_CLEAR(d->reference);
    split_drop_window(d);
    PyMem_Free(d->unfinished);
    d->unfinished = NULL;
    d->gathering = false;
    d->need = d->splitter->least;
}

static void Decoder_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    split_reset((Decoder *)self);
    Py_DECREF(((Decoder *)self)->splitter);
    ft_dealloc_fields(self, 1);
}

/* Ask the reference decoder for messages of the octets that it holds and of `data`, or with NULL, what the end of file
 * comes to. If there is none, one is made, which decodes from `start` on, or `with_batch`, from the latest batch on. */
static PyObject *refer(Decoder *d, bool with_batch, PyObject *data, Py_ssize_t limit)
{
    if (d->reference == NULL) {
        PyObject *octets = split_all_octets(d, with_batch);
        PyObject *position = d->unfinished == NULL || with_batch ? Py_NewRef(Py_None) : split_position(d);
        PyObject *reference = PyObject_CallMethod(d->splitter->framing, "_leave", "NN", octets, position);
        if (reference == NULL)
            return NULL;
        split_reset(d);
        d->reference = reference;
    }
    return data == NULL ? PyObject_CallMethod(d->reference, "finish", NULL)
                        : PyObject_CallMethod(d->reference, "feed", "On", data, limit);
}

/* --- octets to messages ------------------------------------------------------------------------------------------- */

PyObject *split_feed(PyObject *decoder, PyObject *data, Py_ssize_t limit)
{
    Decoder *d = (Decoder *)decoder;
    Splitter *s = d->splitter;
    limit = Py_MIN(limit, INT32_MAX); /* `given` must be able to count to it */
    end_batch(d);
    if (d->reference != NULL)
        return refer(d, false, data, limit);
    if ((PyBytes_GET_SIZE(data) || d->gathering) && take_in(d, data) < 0)
        return NULL;
    d->base = d->start;
    Batch batch = {PyList_New(0), limit};
    if (batch.messages == NULL)
        return NULL;
    Step step = d->whole == NULL ? ON : deliver(d, &batch, Py_NewRef(d->whole));
    while (step == ON && held(d) >= d->need && PyList_GET_SIZE(batch.messages) < limit)
        step = s->step(d, &batch);
    Py_ssize_t given = PyList_GET_SIZE(batch.messages);
    if (step >= MORE) {
        d->given = (unsigned)given;
        return batch.messages;
    }
    Py_DECREF(batch.messages);
    /* Python decodes the messages before it, too: then all are one batch, and take() can give them back. */
    return step == LEAVE ? refer(d, given > 0, s->nothing, limit) : NULL;
}

/* buffered; with `name` "held", the values of the latest batch count, too. */
static PyObject *get_octets(Decoder *d, void *name)
{
    if (d->reference != NULL)
        return PyObject_GetAttrString(d->reference, name);
    return PyLong_FromSsize_t(own(d) + (strcmp(name, "held") == 0 ? d->values : 0));
}

Py_ssize_t split_buffered(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    if (d->reference == NULL)
        return own(d);
    PyObject *buffered = get_octets(d, "buffered");
    Py_ssize_t size = buffered == NULL ? -1 : PyLong_AsSsize_t(buffered);
    Py_XDECREF(buffered);
    return size;
}

/* --- for the turn ------------------------------------------------------------------------------------------------- */

bool split_failed(PyObject *decoder)
{
    return ((Decoder *)decoder)->reference != NULL;
}

int split_hold(PyObject *decoder, PyObject *octets)
{
    Decoder *d = (Decoder *)decoder;
    if (split_failed(decoder) || is_large(d))
        return 0;
    end_batch(d);
    return take_in(d, octets) < 0 ? -1 : 1;
}

Py_ssize_t split_lacks(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    return split_failed(decoder) || !is_large(d) ? 0 : lacks(d);
}

char *split_place(PyObject *decoder, Py_ssize_t size)
{
    Decoder *d = (Decoder *)decoder;
    if (split_gather(d) < 0 || split_reserve(d, size) < 0)
        return NULL;
    return PyBytes_AS_STRING(d->buf) + d->end;
}

PyObject *split_arrived(PyObject *decoder, Py_ssize_t count)
{
    Decoder *d = (Decoder *)decoder;
    d->end += count;
    return split_feed(decoder, d->splitter->nothing, 1);
}

/* --- the methods of a decoder ------------------------------------------------------------------------------------- */

static PyObject *decoder_feed(PyObject *d, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"", "limit", NULL};
    PyObject *given, *most = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O|O:feed", names, &given, &most))
        return NULL;
    Py_ssize_t limit = most == Py_None ? PY_SSIZE_T_MAX : PyNumber_AsSsize_t(most, NULL);
    PyObject *data = limit == -1 && PyErr_Occurred() ? NULL : PyBytes_FromObject(given);
    PyObject *messages = data == NULL ? NULL : split_feed(d, data, limit);
    Py_XDECREF(data);
    return messages;
}

static PyObject *decoder_finish(Decoder *d, PyObject *Py_UNUSED(none))
{
    if (own(d) || d->reference != NULL)
        return refer(d, false, NULL, 0);
    return split_feed((PyObject *)d, d->splitter->nothing, 0);
}

static PyObject *decoder_take(Decoder *d, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"undelivered", NULL};
    Py_ssize_t undelivered = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|n:take", names, &undelivered))
        return NULL;
    if (d->reference != NULL)
        return PyObject_CallMethod(d->reference, "take", "n", undelivered);
    PyObject *octets = split_all_octets(d, undelivered != 0);
    if (undelivered)
        octets = PyObject_CallMethod(d->splitter->framing, "_undelivered", "NIn", octets, d->given, undelivered);
    if (octets != NULL)
        split_reset(d);
    return octets;
}

int split_settle(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    end_batch(d);
    if (d->reference != NULL) {
        Py_ssize_t left = split_buffered(decoder);
        if (left > 0)
            return ft_done(PyObject_CallMethod(d->reference, "settle", NULL));
        Py_CLEAR(d->reference); /* between two messages: C goes on */
        return (int)left;
    }
    if (d->gathering)
        return 0;
    if (held(d) == 0)
        split_drop_window(d);
    else if (d->start > d->end / 2) {
        /* Not sooner: if a batch is taken in small portions, each portion would copy all of the rest. */
        PyObject *rest = PyBytes_FromStringAndSize(octets_at(d, d->start), held(d));
        if (rest == NULL)
            return -1;
        COPIED(held(d));
        adopt(d, rest, 0);
        Py_DECREF(rest);
    }
    d->base = d->start;
    return 0;
}

static PyObject *decoder_settle(Decoder *d, PyObject *Py_UNUSED(none))
{
    return split_settle((PyObject *)d) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *decoder_forget_error(Decoder *d, PyObject *Py_UNUSED(none))
{
    return d->reference == NULL ? Py_NewRef(Py_None) : PyObject_CallMethod(d->reference, "forget_error", NULL);
}

static PyObject *decoder_gap(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) { return PyList_New(0); }

/* No framing that skips octets is split in C. */
static PyObject *get_skipped(Decoder *Py_UNUSED(d), void *Py_UNUSED(closure)) { return PyLong_FromLong(0); }

/* The size that all messages have, or 0. */
static PyObject *get_size_of_all(Decoder *d, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(d->splitter->step == split_fixed ? d->splitter->plus : 0);
}

static PyMethodDef decoder_methods[] = {
    {"feed", FT_FAST(decoder_feed), METH_VARARGS | METH_KEYWORDS, NULL},
    {"finish", (PyCFunction)decoder_finish, METH_NOARGS, NULL},
    {"take", FT_FAST(decoder_take), METH_VARARGS | METH_KEYWORDS, NULL},
    {"settle", (PyCFunction)decoder_settle, METH_NOARGS, NULL},
    {"forget_error", (PyCFunction)decoder_forget_error, METH_NOARGS, NULL},
    {"gap", decoder_gap, METH_NOARGS, NULL},
    {0},
};

static PyGetSetDef decoder_values[] = {
    {"buffered", (getter)get_octets, NULL, NULL, "buffered"},
    {"held", (getter)get_octets, NULL, NULL, "held"},
    {"skipped", (getter)get_skipped, NULL, NULL, NULL},
    {"whole", (getter)get_size_of_all, NULL, NULL, NULL},
    {0},
};

FT_OBJECT(Decoder, Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, 1,
          {Py_tp_doc, "The decoder of one connection, made by Splitter.decoder()."},
          {Py_tp_methods, decoder_methods}, {Py_tp_getset, decoder_values})
