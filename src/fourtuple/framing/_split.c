/* The splitters in C: what is usual. The rest, and every error's words, stand once, in the Python beside it.
 *
 * A Splitter is what one framing's options come to; its decoder() makes the Decoder of one connection, which keeps
 * the contract of Decoder in base.py. Where a message is broken, or the end of file comes too early, the decoder
 * hands the octets that it holds to the framing's reference decoder, and that raises.
 *
 *     _split_window.h   the octets that a decoder holds
 *     _split_steps.h    one step of each splitter
 *     _split_resp.h     RESP, whose messages are trees
 *     _split_encode.h   several messages to octets
 *     _split_api.h      all of it for the turn in C
 */
#include "_split_api.h"
#include "_split_encode.h"
#include "_split_resp.h"
#include "_split_window.h"

/* The number of the interface between this file and splitting.py; a build of another number is refused there. */
#define STAMP 2

/* === Decoder ====================================================================================================== */

static PyObject *new_decoder(Splitter *s)
{
    Decoder *d = PyObject_New(Decoder, s->makes);
    if (d == NULL)
        return NULL;
    /* everything behind the splitter begins as nothing */
    memset((char *)d + offsetof(Decoder, splitter), 0, sizeof(*d) - offsetof(Decoder, splitter));
    d->splitter = (Splitter *)Py_NewRef(s);
    d->need = s->least;
    return (PyObject *)d;
}

/* Be as new, but for what the end of the latest message means for the next octets. */
static void reset(Decoder *d)
{
    Py_CLEAR(d->whole);
    Py_CLEAR(d->head);
    drop_window(d);
    drop_unfinished(d);
    d->flags &= DISCARDING | SWALLOW;
    d->given = 0;
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

/* Let the reference decoder find the same, and say it. */
static PyObject *raise_broken(Decoder *d)
{
    PyObject *given = NULL, *octets = all_octets(d, 0);
    PyObject *decoder = octets == NULL ? NULL : PyObject_CallMethod(d->splitter->framing, "reference", NULL);
    if (decoder != NULL)
        given = PyObject_CallMethod(decoder, "feed", "O", octets);
    if (given != NULL && d->flags & TRUNCATED)
        Py_SETREF(given, PyObject_CallMethod(decoder, "finish", NULL));
    if (given != NULL)
        PyErr_Format(PyExc_SystemError, "the C finds %R broken, and its reference finds %R", octets, given);
    Py_XDECREF(given);
    Py_XDECREF(decoder);
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

/* Messages of one size: how many there are is known before the first is cut. */
static PyObject *cut_fixed(Decoder *d, Py_ssize_t limit)
{
    Py_ssize_t size = d->splitter->size, count = Py_MIN(held(d) / size, limit);
    PyObject *list = PyList_New(count);
    if (list == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *message = cut_out(d, d->start + i * size, d->start + (i + 1) * size);
        if (message == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, message);
    }
    d->start += count * size;
    d->given = (unsigned)count;
    return list;
}

/* Cut what is held, behind what `batch` has already. */
static PyObject *cut(Decoder *d, Batch *batch, Py_ssize_t limit)
{
    Splitter *s = d->splitter;
    Step step = ON;
    if (held(d) >= d->need) {
        if (s->scalars != NULL)
            step = resp_cut(d, batch, limit);
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
            d->flags |= FAILED;
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

/* Take the octets of one read into the window. */
static inline int take_in(Decoder *d, PyObject *data, Py_ssize_t size)
{
    if (held(d) == 0) {
        adopt(d, data, 0);
        return 0;
    }
    Py_ssize_t head = head_of_large(d);
    if (head >= 0)
        return begin_gathering(d, head, size);
    return append(d, PyBytes_AS_STRING(data), size, PY_SSIZE_T_MAX);
}

static PyObject *feed(Decoder *d, PyObject *data, Py_ssize_t limit)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    d->given = 0;
    drop_whole(d);
    if (d->flags & FAILED) {
        d->base = d->start;
        return raise_broken(d);
    }
    if (size && !gathering(d) && take_in(d, data, size) < 0)
        return NULL;
    Batch batch;
    batch.items = batch.few;
    batch.count = 0;
    batch.room = FEW;
    if (gathering(d)) {
        Step step = gather(d, data, &batch);
        if (step == BROKEN)
            d->flags |= FAILED;
        if (step != ON)
            return step == RAISED ? NULL : step == BROKEN ? raise_broken(d) : PyList_New(0);
        return cut(d, &batch, limit);
    }
    if (d->flags & SWALLOW)
        swallow_next(d);
    d->base = d->start;
    if (held(d) < d->need || limit < 1)
        return PyList_New(0);
    return d->splitter->size ? cut_fixed(d, limit) : cut(d, &batch, limit);
}

/* Fewer than can be counted in `given`. */
static int read_limit(PyObject *given, Py_ssize_t *limit)
{
    *limit = INT32_MAX;
    if (given == NULL || given == Py_None)
        return 0;
    *limit = Py_MIN(PyNumber_AsSsize_t(given, NULL), INT32_MAX);
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(feed_doc, "feed(data, limit=None)\n--\n\nAs Decoder.feed in fourtuple.framing.base.");

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
        return feed(d, args[0], limit);
    PyObject *data = PyBytes_FromObject(args[0]);
    if (data == NULL)
        return NULL;
    PyObject *messages = feed(d, data, limit);
    Py_DECREF(data);
    return messages;
}

PyDoc_STRVAR(finish_doc, "finish()\n--\n\nAs Decoder.finish in fourtuple.framing.base.");

static PyObject *decoder_finish(Decoder *d, PyObject *Py_UNUSED(none))
{
    PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *messages = nothing == NULL ? NULL : feed(d, nothing, INT32_MAX);
    Py_XDECREF(nothing);
    if (messages == NULL || PyList_GET_SIZE(messages) || buffered(d) == 0)
        return messages;
    if (d->flags & DISCARDING) {
        /* the message that was too long is told already: its end adds nothing */
        discard(d, d->end, 0);
        return messages;
    }
    Py_DECREF(messages);
    d->flags |= FAILED | TRUNCATED;
    return raise_broken(d);
}

PyDoc_STRVAR(take_doc, "take(undelivered=0)\n--\n\nAs Decoder.take in fourtuple.framing.base.");

static PyObject *take_undelivered(Decoder *d, Py_ssize_t undelivered)
{
    Py_ssize_t delivered = (Py_ssize_t)d->given - undelivered;
    PyObject *octets = all_octets(d, 1);
    Decoder *again = octets == NULL ? NULL : (Decoder *)new_decoder(d->splitter);
    if (again == NULL) {
        Py_XDECREF(octets);
        return NULL;
    }
    if (delivered) {
        /* derived again rather than remembered: the usual batch pays nothing for what is rarely asked */
        PyObject *seen = feed(again, octets, delivered);
        Py_SETREF(octets, seen == NULL ? NULL : all_octets(again, 0));
        Py_XDECREF(seen);
    }
    if (octets != NULL) {
        reset(d);
        d->flags = again->flags & (DISCARDING | SWALLOW);
    }
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
    PyObject *octets = all_octets(d, 0);
    if (octets != NULL)
        reset(d);
    return octets;
}

PyDoc_STRVAR(settle_doc, "settle()\n--\n\nAs Decoder.settle in fourtuple.framing.base.");

static int settle(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    drop_whole(d);
    d->given = 0;
    if (gathering(d))
        return 0;
    if (held(d) == 0)
        drop_window(d);
    else if (d->start > d->end / 2) {
        /* Not sooner: whoever takes a batch in small portions would pay for all of the rest at each. */
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
    return settle((PyObject *)d) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(gap_doc, "gap()\n--\n\nSilence ends none of these messages.");

static PyObject *decoder_gap(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) { return PyList_New(0); }

static PyObject *get_buffered(Decoder *d, void *Py_UNUSED(closure)) { return PyLong_FromSsize_t(buffered(d)); }

static PyObject *get_skipped(Decoder *d, void *Py_UNUSED(closure)) { return PyLong_FromSsize_t(d->skipped); }

static PyMethodDef decoder_methods[] = {
    {"feed", (PyCFunction)(void (*)(void))decoder_feed, METH_FASTCALL | METH_KEYWORDS, feed_doc},
    {"finish", (PyCFunction)decoder_finish, METH_NOARGS, finish_doc},
    {"take", (PyCFunction)(void (*)(void))decoder_take, METH_FASTCALL | METH_KEYWORDS, take_doc},
    {"settle", (PyCFunction)decoder_settle, METH_NOARGS, settle_doc},
    {"gap", decoder_gap, METH_NOARGS, gap_doc},
    {0},
};

static PyGetSetDef decoder_values[] = {
    {"buffered", (getter)get_buffered, NULL, "Octets held that no message was made of yet.", NULL},
    {"skipped", (getter)get_skipped, NULL, "Octets skipped so far because they belong to no message.", NULL},
    {0},
};

static PyType_Slot decoder_slots[] = {
    {Py_tp_doc, "The decoder of one connection, made by Splitter.decoder()."},
    {Py_tp_dealloc, decoder_dealloc},
    {Py_tp_methods, decoder_methods},
    {Py_tp_getset, decoder_values},
    {0},
};

static PyType_Spec decoder_spec = {
    .name = "fourtuple.framing._split.Decoder",
    .basicsize = sizeof(Decoder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = decoder_slots,
};

/* === Splitter ===================================================================================================== */

static PyObject *splitter_decoder(Splitter *s, PyObject *Py_UNUSED(none)) { return new_decoder(s); }

PyDoc_STRVAR(encode_many_doc,
             "encode_many(messages)\n--\n\n"
             "The octets of a list of messages; None where something is unusual or refused, and Python is to say what.");

static PyObject *encode_these(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    int knows = s->size || (s->width && s->skip == s->header) || (s->digits && (s->spans == NULL || s->counting)) ||
                (s->count == 1 && !s->keep && !s->digits);
    if (s->simple != NULL)
        return encode_resp(s, messages, count);
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
    Py_VISIT(s->mapping);
    Py_VISIT(s->push);
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
    Py_XDECREF(s->mapping);
    Py_XDECREF(s->push);
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

/* === for the turn in C ============================================================================================ */

static PyObject *api_feed(PyObject *decoder, PyObject *octets, Py_ssize_t limit)
{
    return feed((Decoder *)decoder, octets, Py_MIN(limit, INT32_MAX));
}

static int api_hold(PyObject *decoder, PyObject *octets)
{
    Decoder *d = (Decoder *)decoder;
    if (d->flags & FAILED || gathering(d) || (held(d) && head_of_large(d) >= 0))
        return 0;
    d->given = 0;
    drop_whole(d);
    return take_in(d, octets, PyBytes_GET_SIZE(octets)) < 0 ? -1 : 1;
}

static Py_ssize_t api_buffered(PyObject *decoder) { return buffered((Decoder *)decoder); }

static int api_failed(PyObject *decoder) { return (((Decoder *)decoder)->flags & FAILED) != 0; }

static Py_ssize_t api_lacks(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    if (d->flags & FAILED)
        return 0;
    if (gathering(d))
        return gathered_size(d) - d->end;
    Py_ssize_t head = held(d) ? head_of_large(d) : -1;
    return head < 0 ? 0 : d->need - head - d->splitter->has_comma - (held(d) - head);
}

static char *api_place(PyObject *decoder, Py_ssize_t size)
{
    Decoder *d = (Decoder *)decoder;
    if (!gathering(d) && begin_gathering(d, head_of_large(d), size) < 0)
        return NULL;
    if (reserve(d, size, gathered_size(d)) < 0)
        return NULL;
    return PyBytes_AS_STRING(d->buf) + d->end;
}

static PyObject *api_arrived(PyObject *decoder, Py_ssize_t count)
{
    Decoder *d = (Decoder *)decoder;
    d->given = 0;
    drop_whole(d);
    d->end += count;
    if (d->end < gathered_size(d) || d->splitter->has_comma)
        return PyList_New(0);
    PyObject *list = PyList_New(1);
    if (list != NULL) {
        gathered(d);
        d->given = 1;
        PyList_SET_ITEM(list, 0, Py_NewRef(d->whole));
    }
    return list;
}

/* === the module: a function for each kind of framing ============================================================== */

typedef struct {
    PyTypeObject *splitter, *decoder;
    SplitApi api;
} State;

static Splitter *new_splitter(PyObject *module, PyObject *framing, Step (*step)(Decoder *, Batch *))
{
    State *state = PyModule_GetState(module);
    Splitter *s = (Splitter *)state->splitter->tp_alloc(state->splitter, 0); /* all nothing */
    if (s == NULL)
        return NULL;
    s->makes = (PyTypeObject *)Py_NewRef(state->decoder);
    s->framing = Py_NewRef(framing);
    s->step = step;
    s->least = 1;
    s->max = -1;
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
    Splitter *s = new_splitter(module, framing, fixed_step);
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
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, length_step);
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
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, delimiter_step);
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
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, decimal_step);
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
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, syslog_step);
    if (s == NULL)
        return NULL;
    s->colon = ' ';
    return made(s, PyArg_ParseTuple(args, "OO!pnn:syslog", &framing, &PyTuple_Type, &trailers, &s->counting, &s->digits,
                                    &s->max) &&
                       read_delimiters(s, trailers) == 0);
}

PyDoc_STRVAR(resp_doc,
             "resp(framing, inline, max_count, max_depth, max, scalars, words, mapping, push, simple)\n--\n\n"
             "Values of RESP. scalars makes what begins with an octet of text, words what an inline command is,\n"
             "mapping and push what the values of such an aggregate come to; simple is the class of simple strings.");

static PyObject *make_resp(PyObject *module, PyObject *args)
{
    PyObject *framing = PyTuple_GetItem(args, 0), *scalars, *words, *mapping, *push, *simple;
    Splitter *s = framing == NULL ? NULL : new_splitter(module, framing, NULL);
    if (s == NULL)
        return NULL;
    if (!PyArg_ParseTuple(args, "OpnnnO!OOOO!:resp", &framing, &s->inline_commands, &s->max_count, &s->max_depth, &s->max,
                          &PyDict_Type, &scalars, &words, &mapping, &push, &PyType_Type, &simple))
        return made(s, 0);
    if (s->max_depth > DEEPEST) {
        PyErr_Format(PyExc_ValueError, "max_depth is %zd, it must be at most %d", s->max_depth, DEEPEST);
        return made(s, 0);
    }
    s->scalars = Py_NewRef(scalars);
    s->words = Py_NewRef(words);
    s->mapping = Py_NewRef(mapping);
    s->push = Py_NewRef(push);
    s->simple = (PyTypeObject *)Py_NewRef(simple);
    return (PyObject *)s;
}

#ifdef FOURTUPLE_COUNT
PyDoc_STRVAR(work_doc, "work()\n--\n\nOctets searched and copied since the last call.");

static PyObject *work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *both = Py_BuildValue("LL", octets_searched, octets_copied);
    octets_searched = octets_copied = 0;
    return both;
}
#endif

static PyMethodDef module_functions[] = {
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
    if (add_type(module, &splitter_spec, &state->splitter) < 0 || add_type(module, &decoder_spec, &state->decoder) < 0)
        return -1;
    if (PyModule_AddIntConstant(module, "MAX_DEPTH", DEEPEST) < 0)
        return -1;
    state->api = (SplitApi){
        .stamp = SPLIT_API_STAMP,
        .decoder = state->decoder,
        .splitter = state->splitter,
        .feed = api_feed,
        .hold = api_hold,
        .settle = settle,
        .buffered = api_buffered,
        .failed = api_failed,
        .encode_many = encode_many,
        .encode_one = encode_one,
        .lacks = api_lacks,
        .place = api_place,
        .arrived = api_arrived,
    };
    PyObject *api = PyCapsule_New(&state->api, SPLIT_API, NULL);
    int added = api == NULL ? -1 : PyModule_AddObjectRef(module, "api", api);
    Py_XDECREF(api);
    if (added < 0)
        return -1;
    return PyModule_AddIntMacro(module, STAMP);
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
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000 && !defined(FOURTUPLE_COUNT)
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    /* a decoder belongs to its connection's thread; nothing here is locked */
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fourtuple.framing._split",
    .m_doc = "The splitters in C; see fourtuple.framing.splitting.",
    .m_size = sizeof(State),
    .m_methods = module_functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__split(void) { return PyModuleDef_Init(&module_def); }
