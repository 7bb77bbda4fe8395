/* The Redis serialization protocol: one value after the other, unfinished aggregates wait on a stack.
 *
 * Numbers, strings and arrays are made here; whatever is rarer is made by the functions of resp.py.
 */
#ifndef FOURTUPLE_SPLIT_RESP_H
#define FOURTUPLE_SPLIT_RESP_H

#include "_split_steps.h"

/* More aggregates in each other than this are left to the decoder in Python. */
#define DEEPEST 32

typedef struct {
    char kind;
    Py_ssize_t wanted;
    PyObject *values; /* a list */
} Level;

/* A message in progress. `at` is how far it is decoded, from `start` on; `need` says how far its line is searched, or
 * with `bulk`, the kind of a string whose length is known, where that ends. */
typedef struct Unfinished {
    Py_ssize_t at;
    char bulk;
    int depth;
    Level levels[];
} Unfinished;

/* The same with room for all levels: where a message is decoded. */
typedef union {
    Unfinished now;
    char room[sizeof(Unfinished) + DEEPEST * sizeof(Level)];
} Parsing;

static void drop_levels(Unfinished *now)
{
    while (now->depth)
        Py_DECREF(now->levels[--now->depth].values);
}

static void drop_unfinished(Decoder *d)
{
    if (d->unfinished != NULL) {
        drop_levels(d->unfinished);
        PyMem_Free(d->unfinished);
        d->unfinished = NULL;
    }
}

/* The digits of a number, with a sign, of at most 19 digits; whether it is one. */
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

/* An octet of `text` says which function of resp.py makes the value. */
static PyObject *scalar(Splitter *s, char kind, const char *octets, Py_ssize_t size)
{
    int negative;
    uint64_t number;
    if (kind == ':' && read_number(octets, octets + size, &negative, &number) && number <= INT64_MAX)
        return PyLong_FromLongLong(negative ? -(long long)number : (long long)number);
    PyObject *key = PyLong_FromLong((unsigned char)kind);
    PyObject *function = key == NULL ? NULL : PyDict_GetItemWithError(s->scalars, key);
    Py_XDECREF(key);
    return function == NULL ? NULL : call_with(function, octets, size);
}

/* The message is whole, or nothing: be between two messages. */
static void begin_next(Decoder *d, Unfinished *now)
{
    d->start += now->at;
    d->need = 1;
    now->at = 0;
    now->bulk = 0;
}

/* The innermost aggregate is whole: the value that it is, or NULL for attributes, which nobody asked for. */
static PyObject *closed(Splitter *s, Unfinished *now, int *dropped)
{
    Level *level = &now->levels[--now->depth];
    PyObject *made = level->values;
    *dropped = level->kind == '|';
    if (level->kind == '>' || level->kind == '%') {
        made = PyObject_CallOneArg(level->kind == '>' ? s->push : s->mapping, level->values);
        Py_DECREF(level->values);
    }
    else if (*dropped)
        Py_CLEAR(made);
    return made;
}

/* Take over a value that is whole: it is a message, or an element of what is on top of the stack. */
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
    PyObject *values = PyList_New(0);
    if (values == NULL)
        return RAISED;
    Py_ssize_t wanted = kind == '%' || kind == '|' ? 2 * size : size;
    now->levels[now->depth++] = (Level){kind, wanted, values};
    if (wanted)
        return ON;
    int dropped;
    PyObject *made = closed(s, now, &dropped);
    return dropped ? ON : put(d, now, batch, made);
}

/* The string whose length is known, and the CR LF behind it. */
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
    if (kind == '=') {
        /* a verbatim string: three letters of format and a colon */
        if (size < 4 || octets[3] != ':')
            return BROKEN;
        octets += 4;
        size -= 4;
    }
    COPIED(size);
    return put(d, now, batch, kind == '!' ? scalar(s, '-', octets, size) : PyBytes_FromStringAndSize(octets, size));
}

/* A line that begins with a type. `octets` are what is behind the type. */
static Step typed(Decoder *d, Unfinished *now, Batch *batch, char kind, const char *octets, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    int negative;
    uint64_t number;
    if (memchr("+-:_#,(", kind, 7) != NULL)
        return memchr(octets, '\r', (size_t)size) != NULL ? BROKEN : put(d, now, batch, scalar(s, kind, octets, size));
    if (!read_number(octets, octets + size, &negative, &number))
        return BROKEN;
    if (negative && number == 1 && (kind == '$' || kind == '*'))
        return put(d, now, batch, Py_NewRef(Py_None));
    if (negative && number)
        return BROKEN;
    Py_ssize_t length = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (memchr("$!=", kind, 3) == NULL)
        return aggregate(d, now, batch, kind, length);
    if (s->max >= 0 && now->at + length + 2 > s->max)
        return BROKEN;
    now->bulk = kind;
    d->need = now->at + length + 2;
    return ON;
}

/* A command of words, as people type it; an empty line is none. */
static Step inline_command(Decoder *d, Unfinished *now, Batch *batch, const char *line, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    if (now->depth || !s->inline_commands)
        return BROKEN;
    PyObject *words = call_with(s->words, line, size);
    if (words == NULL)
        return RAISED;
    begin_next(d, now);
    if (PyList_Check(words) && PyList_GET_SIZE(words))
        return deliver(batch, words);
    Py_DECREF(words);
    return ON;
}

/* Decode one value, perhaps the last of a message. */
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
    if (size == 0 || memchr("+-:_#,($!=*~>%|", *line, 15) == NULL)
        return inline_command(d, now, batch, line, size);
    if (at[-1] != '\r')
        return BROKEN;
    return typed(d, now, batch, *line, line + 1, size - 2);
}

/* Cut all messages of the window, at most `limit`. */
static Step resp_cut(Decoder *d, Batch *batch, Py_ssize_t limit)
{
    Parsing parsing;
    Unfinished *now = &parsing.now;
    Step step = ON;
    if (d->unfinished != NULL) {
        memcpy(now, d->unfinished, sizeof(*now) + (size_t)d->unfinished->depth * sizeof(Level));
        PyMem_Free(d->unfinished);
        d->unfinished = NULL;
    }
    else
        *now = (Unfinished){0};
    while (batch->count < limit && step == ON)
        step = value_step(d, now, batch);
    if (step == RAISED && PyErr_ExceptionMatches(PyExc_ValueError)) {
        /* what a function of resp.py finds wrong, the reference decoder finds and says again */
        PyErr_Clear();
        step = BROKEN;
    }
    if (step < MORE || now->at == 0) {
        if (step < MORE)
            d->need = 1;
        drop_levels(now);
        return step;
    }
    size_t size = sizeof(*now) + (size_t)now->depth * sizeof(Level);
    d->unfinished = PyMem_Malloc(size);
    if (d->unfinished == NULL) {
        drop_levels(now);
        PyErr_NoMemory();
        return RAISED;
    }
    memcpy(d->unfinished, now, size);
    return step;
}

#endif
