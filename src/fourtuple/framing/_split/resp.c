/* The Redis serialization protocol. A message is decoded in two passes: the first one checks and charges its octets as
 * they arrive, and finds its end; the second one makes its values, when all of them have come.
 *
 * So a message that is not whole holds no values. Otherwise a peer that never ends its messages could make us hold
 * twenty times their octets, as fast as the network delivers them.
 *
 * Numbers, strings and arrays are made here; the other types are made by the functions of respvalues.py. The memory of
 * values is charged exactly as there. What clients and servers hardly ever send is left to Python: inline commands,
 * streamed values, attributes, bulk errors, verbatim strings, and numbers of 19 digits.
 */
#include "framing/_split/split.h"

/* The types of values by their first octet: 0 for none. */
enum { SCALAR = 1, SIZED = 2, OF_THREE = 4 };
static const unsigned char types[256] = {
    ['+'] = SCALAR, ['-'] = SCALAR, [':'] = SCALAR, ['$'] = SIZED, ['*'] = SIZED,
    ['_'] = SCALAR | OF_THREE, ['#'] = SCALAR | OF_THREE, [','] = SCALAR | OF_THREE, ['('] = SCALAR | OF_THREE,
    ['~'] = SIZED | OF_THREE, ['>'] = SIZED | OF_THREE, ['%'] = SIZED | OF_THREE,
};

/* Deeper values are left to Python. */
#define DEEPEST 32

/* A message in progress. `at` tells how far it is decoded, from `start` on, and `seen` how far its next line is
 * searched. */
typedef struct Unfinished {
    Py_ssize_t at, seen;
    Py_ssize_t charged; /* the memory of its values */
    int depth;
    Py_ssize_t left[DEEPEST]; /* for each aggregate that is not whole, outermost first: how many values have not come */
} Unfinished;

/* Whether a line of this type is a value; otherwise it tells the size of one. */
static inline bool is_scalar(char kind) { return types[(unsigned char)kind] & SCALAR; }

/* Read a number of at most 18 digits, without a plus sign and leading zeros. Return whether it is one. */
static bool read_number(const char *at, const char *end, int64_t *number)
{
    bool negative = at < end && *at == '-';
    at += negative;
    if (at == end || end - at > 18 || (*at == '0' && (negative || end - at > 1)))
        return false;
    *number = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        *number = *number * 10 + (*at - '0');
    }
    if (negative)
        *number = -*number;
    return true;
}

/* The function of respvalues.py that makes values of a type, called with octets or a list. Steals `argument`. */
static PyObject *made_by(PyObject *makers, char kind, PyObject *argument)
{
    PyObject *key = argument == NULL ? NULL : PyLong_FromLong((unsigned char)kind);
    PyObject *maker = key == NULL ? NULL : PyDict_GetItemWithError(makers, key);
    PyObject *value = maker == NULL ? NULL : PyObject_CallOneArg(maker, argument);
    Py_XDECREF(key);
    Py_XDECREF(argument);
    return value;
}

/* Make a value that is not an aggregate. */
static PyObject *scalar(Splitter *s, char kind, const char *text, Py_ssize_t size)
{
    int64_t number;
    if (kind == ':' && read_number(text, text + size, &number))
        return PyLong_FromLongLong(number);
    if (kind == '_' && size == 0)
        Py_RETURN_NONE;
    COPIED(size);
    return made_by(s->scalars, kind, PyBytes_FromStringAndSize(text, size));
}

/* --- the second pass: make the values of a message that is whole and valid ---------------------------------------- */

/* Read the line of a value that is not a scalar, and move behind it. Returns the size of a string, or the number of
 * values, where a key and its value are two; -1 for a null. */
static int64_t size_at(const char **at)
{
    char kind = **at;
    const char *digit = *at + 1;
    int64_t number = 0;
    if (*digit == '-') {
        number = -1;
        digit += 2;
    }
    for (; *digit != '\r'; digit++)
        number = number * 10 + (*digit - '0');
    *at = digit + 2;
    return kind == '%' ? 2 * number : number;
}

static PyObject *value_at(Splitter *s, const char **at, const char *end);

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
    char kind = **at;
    if (is_scalar(kind)) {
        const char *text = *at + 1, *eol = memchr(text, '\r', (size_t)(end - text));
        SEARCHED(eol - text);
        *at = eol + 2;
        return scalar(s, kind, text, eol - text);
    }
    int64_t size = size_at(at);
    if (size < 0)
        Py_RETURN_NONE;
    if (kind == '$') {
        COPIED(size);
        *at += size + 2;
        return PyBytes_FromStringAndSize(*at - size - 2, size);
    }
    PyObject *values = values_at(s, at, end, size);
    return kind == '*' ? values : made_by(s->aggregates, kind, values);
}

PyObject *split_position(Decoder *d)
{
    Unfinished *now = d->unfinished;
    const char *at = octets_at(d, d->start), *end = at + now->at;
    PyObject *stack = PyList_New(0);
    for (int i = 0; stack != NULL && i < now->depth; i++) {
        char kind = *at;
        int64_t size = size_at(&at);
        PyObject *values = values_at(d->splitter, &at, end, size - now->left[i]);
        PyObject *level = Py_BuildValue("(iLNi)", kind, size, values, 0);
        if (level == NULL || PyList_Append(stack, level) < 0)
            Py_CLEAR(stack);
        Py_XDECREF(level);
    }
    return Py_BuildValue("(nnN)", now->at, now->charged, stack);
}

/* --- the first pass: each step checks before it changes anything, so that Python can go on at the same value ------ */

/* Whether values of this size would exceed max_memory. */
static inline bool too_much(Splitter *s, Unfinished *now, Py_ssize_t size)
{
    return s->max_memory >= 0 && size > s->max_memory - now->charged;
}

/* Move to `at`, the end of a line or a string. */
static inline Step move_to(Decoder *d, Unfinished *now, Py_ssize_t at, Py_ssize_t charged)
{
    now->at = now->seen = at;
    now->charged += charged;
    d->need = at + 1;
    return ON;
}

/* A value that ends at `end` is whole, and perhaps the aggregates that end with it. The outermost one is a message. */
static Step whole_value(Decoder *d, Unfinished *now, Batch *batch, Py_ssize_t end, Py_ssize_t charged)
{
    if (too_much(d->splitter, now, charged))
        return LEAVE;
    move_to(d, now, end, charged);
    for (; now->depth; now->depth--)
        if (--now->left[now->depth - 1] > 0)
            return ON;
    const char *at = octets_at(d, d->start);
    PyObject *message = value_at(d->splitter, &at, at + end);
    if (message != NULL) { /* else it is decoded again, from its beginning */
        d->start += end;
        d->values += now->charged;
    }
    now->charged = 0;
    move_to(d, now, 0, 0);
    return deliver(d, batch, message);
}

/* A line that is a value. `text` is what follows the type, and `end` the end of the line. */
static Step scalar_line(Decoder *d, Unfinished *now, Batch *batch, char kind, const char *text, Py_ssize_t size,
                        Py_ssize_t end)
{
    Splitter *s = d->splitter;
    Py_ssize_t charged = s->value + (kind == '-' ? s->text * size : size);
    if (memchr(text, '\r', (size_t)size) != NULL)
        return LEAVE;
    if (kind != '+' && kind != '-') { /* any text is valid there */
        PyObject *value = scalar(s, kind, text, size);
        if (value == NULL && !PyErr_ExceptionMatches(PyExc_ValueError))
            return RAISED;
        PyErr_Clear();
        if (value == NULL)
            return LEAVE;
        Py_DECREF(value);
    }
    return whole_value(d, now, batch, end, charged);
}

static Step aggregate(Decoder *d, Unfinished *now, Batch *batch, char kind, Py_ssize_t size, Py_ssize_t end)
{
    Splitter *s = d->splitter;
    Py_ssize_t each = kind == '%' ? 2 : 1; /* a value of a map is a key and its value, and charged as two */
    if (size > s->max_count || now->depth >= Py_MIN(s->max_depth, DEEPEST) ||
        too_much(s, now, each * s->value * (1 + size)))
        return LEAVE;
    if (!size)
        return whole_value(d, now, batch, end, each * s->value);
    now->left[now->depth++] = each * size;
    return move_to(d, now, end, each * s->value);
}

/* A string, whose line announces its size. While it is not whole nothing moves: its line is read again when it is. */
static Step bulk_string(Decoder *d, Unfinished *now, Batch *batch, Py_ssize_t size, Py_ssize_t line_end)
{
    Splitter *s = d->splitter;
    Py_ssize_t end = line_end + size + 2;
    if ((s->max >= 0 && end > s->max) || too_much(s, now, s->value + size))
        return LEAVE;
    if (end > held(d))
        return more(d, end);
    if (memcmp(octets_at(d, d->start + end - 2), "\r\n", 2) != 0)
        return LEAVE;
    return whole_value(d, now, batch, end, s->value + size);
}

/* Decode one value, which may complete a message. */
static inline Step value_step(Decoder *d, Unfinished *now, Batch *batch)
{
    Splitter *s = d->splitter;
    const char *message = octets_at(d, d->start), *line = message + now->at;
    const char *eol = memchr(message + now->seen, '\n', (size_t)(held(d) - now->seen));
    Py_ssize_t size = eol != NULL ? eol - message : held(d), end = size + 1;
    SEARCHED(size - now->seen);
    if (s->max >= 0 && size > s->max)
        return LEAVE;
    if (eol == NULL) {
        now->seen = size;
        return more(d, end);
    }
    unsigned char type = types[(unsigned char)*line];
    if (eol - line < 2 || eol[-1] != '\r' || !type || (type & OF_THREE && !s->three))
        return LEAVE;
    if (is_scalar(*line))
        return scalar_line(d, now, batch, *line, line + 1, eol - line - 2, end);
    int64_t number;
    if (!read_number(line + 1, eol - 1, &number) || number < -1)
        return LEAVE;
    if (number == -1)
        return *line == '$' || *line == '*' ? whole_value(d, now, batch, end, s->value) : LEAVE;
    return *line == '$' ? bulk_string(d, now, batch, number, end) : aggregate(d, now, batch, *line, number, end);
}

/* Cut all messages: a call for each would cost one percent. */
Step split_resp(Decoder *d, Batch *batch)
{
    Unfinished *now = d->unfinished;
    if (now == NULL && (now = d->unfinished = PyMem_Calloc(1, sizeof *now)) == NULL)
        return deliver(d, batch, PyErr_NoMemory());
    Step step;
    do
        step = value_step(d, now, batch);
    while (step == ON && (now->depth || (held(d) && PyList_GET_SIZE(batch->messages) < batch->limit)));
    if (!held(d)) { /* between two messages */
        PyMem_Free(now);
        d->unfinished = NULL;
    }
    return step;
}
