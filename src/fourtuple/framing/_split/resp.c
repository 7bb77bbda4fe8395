/* The Redis serialization protocol: one value after the other; unfinished aggregates wait on a stack.
 *
 * Numbers, strings, arrays and maps are made here; rarer types are made by the functions of respvalues.py. The memory
 * of values is charged exactly as there.
 *
 * A message that is not whole at the end of a read holds no values: the values already made are dropped, and further
 * octets are only checked, charged and counted. With its last octet, all values are made at once. Otherwise a peer that
 * never ends its messages could make us hold twenty times their octets, as fast as the network delivers them.
 */
#include "framing/_split/split.h"

/* An Unfinished with room for all levels, for the time of decoding. */
typedef union {
    Unfinished now;
    char room[sizeof(Unfinished) + DEEPEST * sizeof(Level)];
} Parsing;

static void drop_levels(Unfinished *now)
{
    while (now->depth)
        Py_XDECREF(now->levels[--now->depth].values);
}

void split_drop_unfinished(Decoder *d)
{
    if (d->unfinished != NULL) {
        drop_levels(d->unfinished);
        PyMem_Free(d->unfinished);
        d->unfinished = NULL;
    }
}

/* Read a number with an optional sign and at most 19 digits; return whether it is valid. */
static int read_number(const char *at, const char *end, int *negative, uint64_t *number)
{
    *number = 0;
    *negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end || end - at > 19)
        return 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        *number = *number * 10 + (uint64_t)(*at - '0');
    }
    return 1;
}

static PyObject *call_with(PyObject *function, const char *octets, Py_ssize_t size)
{
    PyObject *text = PyBytes_FromStringAndSize(octets, size);
    if (text == NULL)
        return NULL;
    COPIED(size);
    PyObject *value = PyObject_CallOneArg(function, text);
    Py_DECREF(text);
    return value;
}

/* Make a value that is not an aggregate. For rarer types, `scalars` gives the function of respvalues.py by `kind`. */
static PyObject *scalar(Splitter *s, char kind, const char *octets, Py_ssize_t size)
{
    int negative;
    uint64_t number;
    if (kind == ':' && read_number(octets, octets + size, &negative, &number) && number <= INT64_MAX)
        return PyLong_FromLongLong(negative ? -(long long)number : (long long)number);
    if (kind == '_' && size == 0)
        Py_RETURN_NONE;
    if (kind == '#' && size == 1 && (*octets == 't' || *octets == 'f'))
        return PyBool_FromLong(*octets == 't');
    PyObject *key = PyLong_FromLong((unsigned char)kind);
    PyObject *function = key == NULL ? NULL : PyDict_GetItemWithError(s->scalars, key);
    Py_XDECREF(key);
    return function == NULL ? NULL : call_with(function, octets, size);
}

/* The memory that is charged for a value of this type with `size` octets of text. */
static inline Py_ssize_t charge(Splitter *s, char kind, Py_ssize_t size)
{
    return s->value + (kind == '-' || kind == '!' ? s->text * size : size);
}

/* Whether values of this size would exceed max_memory. */
static inline int too_much(Splitter *s, Unfinished *now, Py_ssize_t size)
{
    return s->max_memory >= 0 && size > s->max_memory - now->charged;
}

/* Move to the next message: this one is whole, or an empty line. */
static void begin_next(Decoder *d, Unfinished *now)
{
    d->start += now->at;
    d->need = 1;
    d->values += now->charged;
    *now = (Unfinished){0};
}

static PyObject *pairs_of(Splitter *s, PyObject *values)
{
    Py_ssize_t count = PyList_GET_SIZE(values) / 2;
    PyObject *pairs = PyTuple_New(count);
    for (Py_ssize_t i = 0; pairs != NULL && i < count; i++) {
        PyObject *pair = PyTuple_Pack(2, PyList_GET_ITEM(values, 2 * i), PyList_GET_ITEM(values, 2 * i + 1));
        if (pair == NULL)
            Py_CLEAR(pairs);
        else
            PyTuple_SET_ITEM(pairs, i, pair);
    }
    PyObject *made = pairs == NULL ? NULL : PyObject_CallOneArg(s->pairs, pairs);
    Py_XDECREF(pairs);
    return made;
}

/* Make a map of alternating keys and values: a dict if all keys are octets and unique, else pairs. */
static PyObject *map_of(Splitter *s, PyObject *values)
{
    Py_ssize_t size = PyList_GET_SIZE(values);
    PyObject *map = PyDict_New();
    for (Py_ssize_t i = 0; map != NULL && i < size; i += 2) {
        PyObject *key = PyList_GET_ITEM(values, i);
        if (!PyBytes_CheckExact(key) && !Py_IS_TYPE(key, (PyTypeObject *)s->simple))
            break;
        if (PyDict_SetItem(map, key, PyList_GET_ITEM(values, i + 1)) < 0)
            Py_CLEAR(map);
    }
    if (map == NULL || PyDict_Size(map) * 2 == size)
        return map;
    Py_DECREF(map);
    return pairs_of(s, values);
}

/* Close the innermost aggregate; return its value, or NULL for attributes, which are dropped. */
static PyObject *closed(Splitter *s, Unfinished *now, int *dropped)
{
    Level *level = &now->levels[--now->depth];
    PyObject *made = level->values;
    *dropped = level->kind == '|';
    if (*dropped) {
        Py_CLEAR(made);
        now->charged = level->charged;
    }
    else if (level->kind != '*') {
        PyObject *function = level->kind == '>' ? s->push : s->members;
        made = level->kind == '%' ? map_of(s, level->values) : PyObject_CallOneArg(function, level->values);
        Py_DECREF(level->values);
    }
    return made;
}

/* Go back to the beginning of the message, to make its values: all of them have come. */
static void make_values(Decoder *d, Unfinished *now)
{
    *now = (Unfinished){0};
    d->need = 1;
}

/* Count a whole value, and the aggregates that end with it. */
static Step counted(Decoder *d, Unfinished *now)
{
    while (now->depth) {
        Level *level = &now->levels[now->depth - 1];
        if (++level->have < level->wanted)
            return ON;
        now->depth--;
        if (level->kind == '|') {
            now->charged = level->charged;
            return ON;
        }
    }
    make_values(d, now);
    return ON;
}

/* Drop the values of an unfinished message; values are only counted from now on. */
static void count_from_here(Unfinished *now)
{
    for (int i = 0; i < now->depth; i++) {
        Level *level = &now->levels[i];
        if (level->values != NULL)
            level->have = PyList_GET_SIZE(level->values);
        Py_CLEAR(level->values);
    }
    now->counting = now->depth > 0;
}

/* Take a whole value: it is a message, or an element of the aggregate on top of the stack. Steals `value`. */
static Step put(Decoder *d, Unfinished *now, Batch *batch, PyObject *value)
{
    int dropped;
    while (value != NULL && now->depth) {
        Level *level = &now->levels[now->depth - 1];
        int failed = PyList_Append(level->values, value);
        Py_DECREF(value);
        if (failed)
            return RAISED;
        if (PyList_GET_SIZE(level->values) < level->wanted)
            return ON;
        value = closed(d->splitter, now, &dropped);
        if (dropped)
            return ON;
    }
    if (value != NULL)
        begin_next(d, now);
    return deliver(batch, value);
}

static Step aggregate(Decoder *d, Unfinished *now, Batch *batch, char kind, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    if (size > s->max_count || now->depth >= s->max_depth)
        return BROKEN;
    Py_ssize_t wanted = kind == '%' || kind == '|' ? 2 * size : size;
    Py_ssize_t own = kind == '%' ? 2 * s->value : s->value;
    if (too_much(s, now, own + s->value * wanted))
        return BROKEN;
    PyObject *values = now->counting ? NULL : PyList_New(0);
    if (values == NULL && !now->counting)
        return RAISED;
    /* `charged` is saved before this is added: the charge of attributes is dropped together with them. */
    Level level = {kind, wanted, 0, values, now->charged};
    now->charged += own;
    if (now->counting && !wanted) {
        if (kind == '|') {
            now->charged = level.charged;
            return ON;
        }
        return counted(d, now);
    }
    now->levels[now->depth++] = level;
    if (wanted)
        return ON;
    int dropped;
    PyObject *made = closed(s, now, &dropped);
    return dropped ? ON : put(d, now, batch, made);
}

/* A string whose length is known, and the CR LF after it. */
static Step bulk_string(Decoder *d, Unfinished *now, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t end = d->need, size = end - 2 - now->at;
    if (end > held(d))
        return MORE;
    const char *octets = octets_at(d, d->start + now->at);
    if (octets[size] != '\r' || octets[size + 1] != '\n')
        return BROKEN;
    char kind = now->bulk;
    now->bulk = 0;
    now->at = end;
    d->need = end + 1;
    now->charged += charge(s, kind, size); /* typed() has checked max_memory */
    if (kind == '=') {
        /* a verbatim string: three letters of format and a colon */
        if (size < 4 || octets[3] != ':')
            return BROKEN;
        octets += 4;
        size -= 4;
    }
    if (now->counting)
        return counted(d, now);
    COPIED(size);
    return put(d, now, batch, kind == '!' ? scalar(s, '-', octets, size) : PyBytes_FromStringAndSize(octets, size));
}

/* A line that begins with a type. `octets` is the text after the type. */
static Step typed(Decoder *d, Unfinished *now, Batch *batch, char kind, const char *octets, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    int negative;
    uint64_t number;
    if (memchr("+-:_#,(", kind, 7) != NULL) {
        if (memchr(octets, '\r', (size_t)size) != NULL || too_much(s, now, charge(s, kind, size)))
            return BROKEN;
        now->charged += charge(s, kind, size);
        if (now->counting && (kind == '+' || kind == '-'))
            return counted(d, now); /* any text is valid */
        PyObject *value = scalar(s, kind, octets, size);
        if (!now->counting || value == NULL)
            return put(d, now, batch, value);
        Py_DECREF(value);
        return counted(d, now);
    }
    if (!read_number(octets, octets + size, &negative, &number))
        return BROKEN;
    if (negative && number == 1 && (kind == '$' || kind == '*')) {
        if (too_much(s, now, s->value))
            return BROKEN;
        now->charged += s->value;
        return now->counting ? counted(d, now) : put(d, now, batch, Py_NewRef(Py_None));
    }
    if (negative && number)
        return BROKEN;
    Py_ssize_t length = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (memchr("$!=", kind, 3) == NULL)
        return aggregate(d, now, batch, kind, length);
    if ((s->max >= 0 && now->at + length + 2 > s->max) || too_much(s, now, charge(s, kind, length)))
        return BROKEN;
    now->bulk = kind;
    d->need = now->at + length + 2;
    return ON;
}

/* An inline command: words, as typed in a terminal. An empty line is skipped. */
static Step inline_command(Decoder *d, Unfinished *now, Batch *batch, const char *line, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    if (now->depth || !s->inline_commands)
        return BROKEN;
    PyObject *words = call_with(s->words, line, size);
    if (words == NULL)
        return RAISED;
    Py_ssize_t count = PyList_Check(words) ? PyList_GET_SIZE(words) : 0;
    Py_ssize_t takes = count ? s->value * (1 + count) + size : 0;
    if (too_much(s, now, takes)) {
        Py_DECREF(words);
        return BROKEN;
    }
    now->charged += takes;
    begin_next(d, now);
    if (count)
        return deliver(batch, words);
    Py_DECREF(words);
    return ON;
}

/* The types, those of RESP2 first. */
#define ALL_TYPES "+-:$*_#,(!=~>%|"
#define TYPES_OF_TWO 5

/* Decode one value, which may complete a message. */
static Step value_step(Decoder *d, Unfinished *now, Batch *batch)
{
    Splitter *s = d->splitter;
    if (now->bulk)
        return bulk_string(d, now, batch);
    Py_ssize_t seen = d->need - 1;
    const char *message = octets_at(d, d->start);
    const char *at = memchr(message + seen, '\n', (size_t)(held(d) - seen));
    Py_ssize_t size = at != NULL ? at - message : held(d);
    SEARCHED(size - seen);
    if (s->max >= 0 && size > s->max)
        return BROKEN;
    if (at == NULL)
        return more(d, size + 1);
    const char *line = message + now->at;
    now->at = size + 1;
    d->need = now->at + 1;
    size = at - line;
    if (size == 0 || memchr(ALL_TYPES, *line, sizeof(ALL_TYPES) - 1) == NULL)
        return inline_command(d, now, batch, line, size);
    if (at[-1] != '\r' || (!s->three && memchr(ALL_TYPES, *line, TYPES_OF_TWO) == NULL))
        return BROKEN;
    return typed(d, now, batch, *line, line + 1, size - 2);
}

/* Keep the unfinished message until more octets come; for an invalid message, keep the position of the error. */
static int keep_unfinished(Decoder *d, Unfinished *now)
{
    size_t size = sizeof(*now) + (size_t)now->depth * sizeof(Level);
    d->unfinished = PyMem_Malloc(size);
    if (d->unfinished == NULL) {
        drop_levels(now);
        PyErr_NoMemory();
        return -1;
    }
    memcpy(d->unfinished, now, size);
    return 0;
}

/* Cut all messages of the window, at most `limit`. */
Step split_resp(Decoder *d, Batch *batch, Py_ssize_t limit)
{
    Parsing parsing;
    Unfinished *now = &parsing.now, before;
    Py_ssize_t need = d->need;
    Step step = ON;
    if (d->unfinished != NULL) {
        memcpy(now, d->unfinished, sizeof(*now) + (size_t)d->unfinished->depth * sizeof(Level));
        PyMem_Free(d->unfinished);
        d->unfinished = NULL;
    }
    else
        *now = (Unfinished){0};
    while (batch->count < limit && step == ON) {
        before = *now;
        need = d->need;
        step = value_step(d, now, batch);
    }
    if (step == RAISED && PyErr_ExceptionMatches(PyExc_ValueError)) {
        /* a function of respvalues.py rejected a value: the reference decoder rejects it again, with a message */
        PyErr_Clear();
        step = BROKEN;
    }
    if (step == RAISED) {
        drop_levels(now);
        d->need = 1;
        return step;
    }
    if (step == BROKEN) {
        /* The reference decoder reads only the invalid value; the values before it are not needed any more. */
        drop_levels(now);
        *now = before;
        memset(now->levels, 0, (size_t)now->depth * sizeof(Level)); /* only their number matters */
        d->need = need;
    }
    if (now->at == 0 && !now->depth && !now->bulk)
        return step;
    count_from_here(now);
    return keep_unfinished(d, now) < 0 ? RAISED : step;
}
