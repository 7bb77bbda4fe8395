/* The Redis serialization protocol. A message is decoded in two passes: the first one checks and charges its octets as
 * they arrive, and finds its end; the second one makes its values, when all of them have come.
 *
 * So a message that is not whole holds no values. Otherwise a peer that never ends its messages could make us hold
 * twenty times their octets, as fast as the network delivers them.
 *
 * Numbers, strings and arrays are made here; the other types are made by the functions of respvalues.py. The memory of
 * values is charged exactly as there.
 */
#include "framing/_split/split.h"

/* The types, those of RESP2 first; of these, the lines that are values, and strings whose length comes first. */
#define ALL_TYPES "+-:$*_#,(!=~>%|"
#define TYPES_OF_TWO 5
#define SCALARS "+-:_#,("
#define BULKS "$!="
/* Types that may be streamed: `?` in place of their size, and an end that follows them. */
#define STREAMED "$*~%"

/* An Unfinished with room for all levels, for the time of decoding. */
typedef union {
    Unfinished now;
    char room[sizeof(Unfinished) + DEEPEST * sizeof(Level)];
} Parsing;

void split_drop_unfinished(Decoder *d)
{
    PyMem_Free(d->unfinished);
    d->unfinished = NULL;
}

/* The most values of a streamed aggregate. */
static inline Py_ssize_t most_values(Splitter *s, char kind)
{
    return kind == '%' ? 2 * s->max_count : s->max_count;
}

/* The position in a message of values, for the reference decoder: RespDecoder._resume(). */
PyObject *split_position(Decoder *d)
{
    Unfinished *now = d->unfinished;
    Level *level = now->depth ? &now->levels[now->depth - 1] : NULL;
    int streamed = level != NULL && level->streamed;
    Py_ssize_t came = streamed ? most_values(d->splitter, level->kind) - level->left : 0;
    return Py_BuildValue("(nininini)", now->at, (int)now->bulk, d->need, now->depth, now->charged,
                         streamed ? (int)level->kind : 0, came, now->streaming + 2 * now->attributed);
}

/* Read a number of at most 19 digits, as hiredis does: without a plus sign and leading zeros. Return whether it is one. */
static int read_number(const char *at, const char *end, int *negative, uint64_t *number)
{
    *number = 0;
    *negative = at < end && *at == '-';
    if (*negative)
        at++;
    if (at == end || end - at > 19 || (*at == '0' && (*negative || end - at > 1)))
        return 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        *number = *number * 10 + (uint64_t)(*at - '0');
    }
    return 1;
}

/* Whether a line announces a streamed value. */
static inline int announces_stream(char kind, const char *octets, Py_ssize_t size)
{
    return size == 1 && *octets == '?' && strchr(STREAMED, kind) != NULL;
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

/* The function of respvalues.py that makes values of a type, borrowed; NULL with an exception. */
static PyObject *maker_of(PyObject *makers, char kind)
{
    PyObject *key = PyLong_FromLong((unsigned char)kind);
    PyObject *maker = key == NULL ? NULL : PyDict_GetItemWithError(makers, key);
    Py_XDECREF(key);
    return maker;
}

/* Make a value that is not an aggregate. */
static PyObject *scalar(Splitter *s, char kind, const char *octets, Py_ssize_t size)
{
    int negative;
    uint64_t number;
    if (kind == ':' && read_number(octets, octets + size, &negative, &number) && number <= INT64_MAX)
        return PyLong_FromLongLong(negative ? -(long long)number : (long long)number);
    if (kind == '_' && size == 0)
        Py_RETURN_NONE;
    PyObject *function = maker_of(s->scalars, kind);
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

/* --- the second pass: make the values of a message that is whole and valid ---------------------------------------- */

static PyObject *value_at(Splitter *s, const char **at, const char *end);

/* The text of a streamed string: its chunks are walked to find its size, and again to copy them. */
static PyObject *chunks_at(const char **at, const char *end)
{
    PyObject *text = NULL;
    for (int copying = 0; copying < 2; copying++) {
        const char *now = *at;
        Py_ssize_t all = 0;
        for (;;) {
            int negative;
            uint64_t size;
            const char *eol = memchr(now, '\n', (size_t)(end - now));
            SEARCHED(eol - now);
            read_number(now + 1, eol - 1, &negative, &size);
            now = eol + 1;
            if (size == 0)
                break;
            if (copying) {
                memcpy(PyBytes_AS_STRING(text) + all, now, (size_t)size);
                COPIED((Py_ssize_t)size);
            }
            all += (Py_ssize_t)size;
            now += size + 2;
        }
        if (copying)
            *at = now;
        else if ((text = PyBytes_FromStringAndSize(NULL, all)) == NULL)
            return NULL;
    }
    return text;
}

/* The values of a streamed aggregate, up to the line that ends it. */
static PyObject *streamed_values_at(Splitter *s, const char **at, const char *end)
{
    PyObject *values = PyList_New(0);
    while (values != NULL && **at != '.') {
        PyObject *value = value_at(s, at, end);
        if (value == NULL || PyList_Append(values, value) < 0)
            Py_CLEAR(values);
        Py_XDECREF(value);
    }
    *at += 3; /* a dot, CR and LF */
    return values;
}

/* The values of an aggregate; NULL with an exception. Recursive, up to max_depth. */
static PyObject *values_at(Splitter *s, const char **at, const char *end, Py_ssize_t count)
{
    PyObject *values = PyList_New(count);
    for (Py_ssize_t i = 0; values != NULL && i < count; i++) {
        PyObject *value = value_at(s, at, end);
        if (value == NULL)
            Py_CLEAR(values);
        else
            PyList_SET_ITEM(values, i, value);
    }
    return values;
}

static PyObject *value_at(Splitter *s, const char **at, const char *end)
{
    for (;;) {
        char kind = **at;
        const char *line = *at + 1, *eol = memchr(line, '\n', (size_t)(end - line));
        SEARCHED(eol - line);
        *at = eol + 1;
        if (strchr(SCALARS, kind))
            return scalar(s, kind, line, eol - 1 - line);
        int negative, streamed = announces_stream(kind, line, eol - 1 - line);
        uint64_t number;
        if (streamed && kind == '$')
            return chunks_at(at, end);
        read_number(line, eol - 1, &negative, &number);
        if (negative && number)
            Py_RETURN_NONE;
        Py_ssize_t size = (Py_ssize_t)number;
        if (strchr(BULKS, kind)) {
            const char *octets = *at;
            *at += size + 2;
            COPIED(size);
            if (kind == '!')
                return scalar(s, '-', octets, size);
            /* a verbatim string begins with three letters of format and a colon */
            return kind == '=' ? PyBytes_FromStringAndSize(octets + 4, size - 4)
                               : PyBytes_FromStringAndSize(octets, size);
        }
        PyObject *values = streamed ? streamed_values_at(s, at, end)
                                    : values_at(s, at, end, kind == '%' || kind == '|' ? 2 * size : size);
        if (values == NULL || kind == '*')
            return values;
        PyObject *maker = kind == '|' ? NULL : maker_of(s->aggregates, kind);
        PyObject *made = maker == NULL ? NULL : PyObject_CallOneArg(maker, values);
        Py_DECREF(values);
        if (kind != '|')
            return made;
        /* attributes are dropped; the value follows */
    }
}

/* --- the first pass ----------------------------------------------------------------------------------------------- */

/* Move to the next message: this one is whole, or an empty line. */
static void begin_next(Decoder *d, Unfinished *now)
{
    d->start += now->at;
    d->need = 1;
    d->values += now->charged;
    *now = (Unfinished){0};
}

/* A value is whole, and perhaps the aggregates that end with it; the outermost value is a message. */
static Step whole_value(Decoder *d, Unfinished *now, Batch *batch)
{
    while (now->depth) {
        Level *level = &now->levels[now->depth - 1];
        if (--level->left > 0 || level->streamed)
            return ON;
        now->depth--;
        if (level->kind == '|') {
            now->charged = level->charged;
            now->attributed = 1;
            return ON;
        }
    }
    const char *at = octets_at(d, d->start);
    PyObject *message = value_at(d->splitter, &at, at + now->at);
    if (message != NULL)
        begin_next(d, now);
    return deliver(batch, message);
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
    /* `charged` is saved before this is added: the charge of attributes is dropped together with them. An empty
     * aggregate ends as if its last value had come. */
    now->levels[now->depth++] = (Level){kind, 0, Py_MAX(wanted, 1), now->charged};
    now->charged += own;
    return wanted ? ON : whole_value(d, now, batch);
}

/* The line that begins a streamed string or aggregate. */
static Step begin_streamed(Decoder *d, Unfinished *now, char kind)
{
    Splitter *s = d->splitter;
    Py_ssize_t own = kind == '%' ? 2 * s->value : s->value;
    if ((kind != '$' && now->depth >= s->max_depth) || too_much(s, now, own))
        return BROKEN;
    if (kind == '$')
        now->streaming = 1;
    else
        now->levels[now->depth++] = (Level){kind, 1, most_values(s, kind), now->charged};
    now->charged += own;
    return ON;
}

/* The line that ends a streamed aggregate: it is then a whole value. */
static Step end_streamed(Decoder *d, Unfinished *now, Batch *batch)
{
    Level *level = &now->levels[now->depth - 1];
    if (now->attributed || (level->kind == '%' && level->left % 2))
        return BROKEN;
    now->depth--;
    return whole_value(d, now, batch);
}

/* Await the octets of a string or a chunk, whose size has been announced; `memory` is the charge for them. */
static Step expect(Decoder *d, Unfinished *now, char kind, Py_ssize_t size, Py_ssize_t memory)
{
    Splitter *s = d->splitter;
    if ((s->max >= 0 && now->at + size + 2 > s->max) || too_much(s, now, memory))
        return BROKEN;
    now->bulk = kind;
    d->need = now->at + size + 2;
    return ON;
}

/* The line before a chunk of a streamed string; an empty chunk ends the string. */
static Step chunk(Decoder *d, Unfinished *now, Batch *batch, const char *line, Py_ssize_t size)
{
    int negative;
    uint64_t number;
    if (size < 2 || *line != ';' || line[size - 1] != '\r' ||
        !read_number(line + 1, line + size - 1, &negative, &number) || negative)
        return BROKEN;
    Py_ssize_t length = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (length)
        return expect(d, now, ';', length, length);
    now->streaming = 0;
    return whole_value(d, now, batch);
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
    if (kind == ';') {
        now->charged += size;
        return ON;
    }
    now->charged += charge(s, kind, size); /* typed() has checked max_memory */
    if (kind == '=' && (size < 4 || octets[3] != ':'))
        return BROKEN;
    return whole_value(d, now, batch);
}

/* A line that begins with a type. `octets` is the text after the type. */
static Step typed(Decoder *d, Unfinished *now, Batch *batch, char kind, const char *octets, Py_ssize_t size)
{
    Splitter *s = d->splitter;
    int negative;
    uint64_t number;
    if (strchr(SCALARS, kind)) {
        if (memchr(octets, '\r', (size_t)size) != NULL || too_much(s, now, charge(s, kind, size)))
            return BROKEN;
        now->charged += charge(s, kind, size);
        if (kind != '+' && kind != '-') { /* any text is valid there */
            PyObject *value = scalar(s, kind, octets, size);
            if (value == NULL)
                return RAISED;
            Py_DECREF(value);
        }
        return whole_value(d, now, batch);
    }
    if (s->three && announces_stream(kind, octets, size))
        return begin_streamed(d, now, kind);
    if (!read_number(octets, octets + size, &negative, &number))
        return BROKEN;
    if (negative && number == 1 && (kind == '$' || kind == '*')) {
        if (too_much(s, now, s->value))
            return BROKEN;
        now->charged += s->value;
        return whole_value(d, now, batch);
    }
    if (negative && number)
        return BROKEN;
    Py_ssize_t length = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (!strchr(BULKS, kind))
        return aggregate(d, now, batch, kind, length);
    return expect(d, now, kind, length, charge(s, kind, length));
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
    if (now->streaming)
        return chunk(d, now, batch, line, size);
    Level *level = now->depth ? &now->levels[now->depth - 1] : NULL;
    if (level != NULL && level->streamed) {
        if (size == 2 && line[0] == '.' && line[1] == '\r')
            return end_streamed(d, now, batch);
        if (level->left == 0)
            return BROKEN;
    }
    now->attributed = 0;
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
        split_drop_unfinished(d);
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
        d->need = 1;
        return step;
    }
    if (step == BROKEN) { /* the reference decoder reads only the invalid value; of the levels, it needs the number */
        *now = before;
        d->need = need;
    }
    if (now->at == 0 && !now->depth && !now->bulk)
        return step;
    return keep_unfinished(d, now) < 0 ? RAISED : step;
}
