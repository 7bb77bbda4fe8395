/* The decoder of one connection: it implements Decoder of base.py, which documents the methods, with the window and
 * the steps. */
#include "framing/_split/split.h"

PyObject *split_new_decoder(Splitter *s)
{
    Decoder *d = PyObject_New(Decoder, s->makes);
    if (d == NULL)
        return NULL;
    /* all fields from `splitter` on begin as 0 or NULL */
    memset((char *)d + offsetof(Decoder, splitter), 0, sizeof(*d) - offsetof(Decoder, splitter));
    d->splitter = (Splitter *)Py_NewRef(s);
    d->need = s->least;
    return (PyObject *)d;
}

/* Reset to a new decoder. */
static void reset(Decoder *d)
{
    Py_CLEAR(d->whole);
    Py_CLEAR(d->head);
    split_drop_window(d);
    split_drop_unfinished(d);
    d->ours = d->gathering = d->failed = d->truncated = false;
    d->given = 0;
    d->values = 0;
    d->need = d->splitter->least;
}

static void decoder_dealloc(Decoder *d)
{
    PyTypeObject *type = Py_TYPE(d);
    reset(d);
    Py_DECREF(d->splitter);
    type->tp_free(d);
    Py_DECREF(type);
}

/* Raise the error of an invalid message. Python does it: the reference decoder finds the same error. */
static PyObject *raise_broken(Decoder *d)
{
    PyObject *octets = split_all_octets(d, 0), *truncated = d->truncated ? Py_True : Py_False;
    PyObject *position = d->unfinished == NULL ? Py_NewRef(Py_None) : split_position(d);
    if (octets != NULL && position != NULL)
        Py_XDECREF(PyObject_CallMethod(d->splitter->framing, "_broken", "OOO", octets, position, truncated));
    Py_XDECREF(position);
    Py_XDECREF(octets);
    return NULL;
}

static PyObject *list_of(PyObject *const *items, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (list != NULL)
            PyList_SET_ITEM(list, i, items[i]);
        else
            Py_DECREF(items[i]);
    }
    return list;
}

/* Cut messages from the held octets; append them to `batch`. */
static PyObject *cut(Decoder *d, Batch *batch, Py_ssize_t limit)
{
    Splitter *s = d->splitter;
    Step step = ON;
    if (held(d) >= d->need) {
        if (s->scalars != NULL)
            step = split_resp(d, batch, limit);
        else
            while (batch->count < limit && (step = s->step(d, batch)) == ON)
                ;
    }
    PyObject *list = NULL;
    if (step == RAISED) {
        while (batch->count)
            Py_DECREF(batch->items[--batch->count]);
    }
    else {
        if (step == BROKEN)
            d->failed = true;
        d->given = (unsigned)batch->count;
        if (step == BROKEN && batch->count == 0)
            raise_broken(d);
        else
            list = list_of(batch->items, batch->count);
    }
    if (batch->items != batch->few)
        PyMem_Free(batch->items);
    return list;
}

PyObject *split_feed(Decoder *d, PyObject *data, Py_ssize_t limit)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    d->given = 0;
    d->values = 0;
    drop_whole(d);
    if (d->failed) {
        d->base = d->start;
        return raise_broken(d);
    }
    if (size && !d->gathering && take_in(d, data, size) < 0)
        return NULL;
    Batch batch;
    batch.items = batch.few;
    batch.count = 0;
    batch.room = FEW;
    if (d->gathering) {
        Step step = split_gather(d, data, &batch);
        if (step == BROKEN)
            d->failed = true;
        if (step != ON)
            return step == RAISED ? NULL : step == BROKEN ? raise_broken(d) : PyList_New(0);
        return cut(d, &batch, limit);
    }
    d->base = d->start;
    if (held(d) < d->need || limit < 1)
        return PyList_New(0);
    return cut(d, &batch, limit);
}

/* Read a limit; it is reduced so that `given` can count the messages. */
static int read_limit(PyObject *given, Py_ssize_t *limit)
{
    *limit = INT32_MAX;
    if (given == NULL || given == Py_None)
        return 0;
    *limit = Py_MIN(PyNumber_AsSsize_t(given, NULL), INT32_MAX);
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *decoder_feed(Decoder *d, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t limit, named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count < 1 || count + named > 2 ||
        (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "limit") != 0)) {
        PyErr_SetString(PyExc_TypeError, "feed() takes data and, if need be, limit");
        return NULL;
    }
    if (read_limit(count + named == 2 ? args[1] : NULL, &limit) < 0)
        return NULL;
    if (PyBytes_Check(args[0]))
        return split_feed(d, args[0], limit);
    PyObject *data = PyBytes_FromObject(args[0]);
    if (data == NULL)
        return NULL;
    PyObject *messages = split_feed(d, data, limit);
    Py_DECREF(data);
    return messages;
}

static PyObject *decoder_finish(Decoder *d, PyObject *Py_UNUSED(none))
{
    PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *messages = nothing == NULL ? NULL : split_feed(d, nothing, INT32_MAX);
    Py_XDECREF(nothing);
    if (messages == NULL || PyList_GET_SIZE(messages) || buffered(d) == 0)
        return messages;
    Py_DECREF(messages);
    d->failed = d->truncated = true;
    return raise_broken(d);
}

static PyObject *take_undelivered(Decoder *d, Py_ssize_t undelivered)
{
    Py_ssize_t delivered = (Py_ssize_t)d->given - undelivered;
    PyObject *octets = split_all_octets(d, 1);
    Decoder *again = octets == NULL ? NULL : (Decoder *)split_new_decoder(d->splitter);
    if (again == NULL) {
        Py_XDECREF(octets);
        return NULL;
    }
    if (delivered) {
        /* decoded again instead of remembered: take() is rare, and a normal batch pays nothing for it */
        PyObject *seen = split_feed(again, octets, delivered);
        Py_SETREF(octets, seen == NULL ? NULL : split_all_octets(again, 0));
        Py_XDECREF(seen);
    }
    if (octets != NULL)
        reset(d);
    Py_DECREF(again);
    return octets;
}

static PyObject *decoder_take(Decoder *d, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t undelivered = 0, named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count + named > 1 ||
        (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "undelivered") != 0)) {
        PyErr_SetString(PyExc_TypeError, "take() takes undelivered, if need be");
        return NULL;
    }
    if (count + named && (undelivered = PyNumber_AsSsize_t(args[0], PyExc_OverflowError)) == -1 && PyErr_Occurred())
        return NULL;
    if (undelivered > (Py_ssize_t)d->given)
        return PyObject_CallMethod(d->splitter->framing, "_undeliverable", "In", d->given, undelivered);
    if (undelivered)
        return take_undelivered(d, undelivered);
    PyObject *octets = split_all_octets(d, 0);
    if (octets != NULL)
        reset(d);
    return octets;
}

int split_settle(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    drop_whole(d);
    d->given = 0;
    d->values = 0;
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

static PyObject *decoder_gap(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) { return PyList_New(0); }

static PyObject *get_buffered(Decoder *d, void *Py_UNUSED(closure)) { return PyLong_FromSsize_t(buffered(d)); }

static PyObject *get_held(Decoder *d, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(buffered(d) + (d->given ? d->values : 0));
}

/* No framing that skips octets is split in C. */
static PyObject *get_skipped(Decoder *Py_UNUSED(d), void *Py_UNUSED(closure)) { return PyLong_FromLong(0); }

static PyMethodDef decoder_methods[] = {
    {"feed", FT_FAST(decoder_feed), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"finish", (PyCFunction)decoder_finish, METH_NOARGS, NULL},
    {"take", FT_FAST(decoder_take), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"settle", (PyCFunction)decoder_settle, METH_NOARGS, NULL},
    {"gap", decoder_gap, METH_NOARGS, NULL},
    {0},
};

static PyGetSetDef decoder_values[] = {
    {"buffered", (getter)get_buffered, NULL, NULL, NULL},
    {"held", (getter)get_held, NULL, NULL, NULL},
    {"skipped", (getter)get_skipped, NULL, NULL, NULL},
    {0},
};

static PyType_Slot decoder_slots[] = {
    {Py_tp_doc, "The decoder of one connection, made by Splitter.decoder()."},
    {Py_tp_dealloc, decoder_dealloc},
    {Py_tp_methods, decoder_methods},
    {Py_tp_getset, decoder_values},
    {0},
};

PyType_Spec split_decoder_spec = {
    .name = "fourtuple.framing._split.Decoder",
    .basicsize = sizeof(Decoder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = decoder_slots,
};
