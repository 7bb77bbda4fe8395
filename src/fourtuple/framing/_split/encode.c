/* Several messages to octets: one allocation, one copy.
 *
 * Only what needs no words: whatever is unusual or refused is left to the Python beside it, which says why.
 */
#include "framing/_split/split.h"

/* The octets of a message's frame; -1 where Python is asked. */
static inline Py_ssize_t frame_size(Splitter *s, PyObject *message)
{
    if (!PyBytes_CheckExact(message))
        return -1;
    Py_ssize_t size = PyBytes_GET_SIZE(message), digits = 1;
    if (s->max_sent >= 0 && size > s->max_sent)
        return -1;
    if (s->width) {
        long long number = size + s->skip - s->plus;
        int fits = number >= 0 && (s->width == 8 || (uint64_t)number >> (8 * s->width) == 0);
        return fits ? s->header : -1;
    }
    if (s->digits) {
        for (Py_ssize_t rest = size; rest >= 10; rest /= 10)
            digits++;
        return size || s->has_comma ? digits + 1 + s->has_comma : -1;
    }
    const char *octets = PyBytes_AS_STRING(message);
    /* a CR at an end of the message may be stripped or swallowed there, an LF at its beginning swallowed */
    if (size && s->strip_cr && octets[size - 1] == '\r')
        return -1;
    if (size && s->swallows && (octets[0] == '\r' || octets[0] == '\n'))
        return -1;
    return s->spans->size;
}

static char *write_length(Splitter *s, char *to, Py_ssize_t size)
{
    uint64_t number = (uint64_t)(size + s->skip - s->plus);
    if (s->lead != NULL)
        memcpy(to, PyBytes_AS_STRING(s->lead), (size_t)s->offset);
    else
        memset(to, 0, (size_t)s->offset);
    to += s->offset;
    for (Py_ssize_t i = 0; i < s->width; i++)
        to[i] = (char)(number >> 8 * (s->little ? i : s->width - 1 - i));
    return to + s->width;
}

/* Write one message behind the others; NULL where it has a delimiter inside. */
static inline char *write_message(Splitter *s, char *to, PyObject *message)
{
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    if (s->width)
        to = write_length(s, to, size);
    else if (s->digits)
        to += sprintf(to, "%zd%c", size, s->colon);
    copy_octets(to, PyBytes_AS_STRING(message), size);
    if (s->has_comma)
        to[size++] = s->comma;
    if (s->spans != NULL && !s->digits) {
        Py_ssize_t length = s->spans->size, found;
        memcpy(to + size, s->spans->octets, (size_t)length);
        if (split_find(s, to, to + size + length, &found) != to + size)
            return NULL;
        size += length;
    }
    return to + size;
}

/* --- RESP: octets and simple strings, which is what most replies are ------------------------------------------------ */

static inline int is_simple(Splitter *s, PyObject *value) { return Py_IS_TYPE(value, s->simple); }

/* The octets of one value, encoded; -1 where Python is asked. */
static Py_ssize_t resp_size(Splitter *s, PyObject *value)
{
    Py_ssize_t size, total;
    if (is_simple(s, value)) {
        size = PyBytes_GET_SIZE(value);
        const char *octets = PyBytes_AS_STRING(value);
        if (memchr(octets, '\r', (size_t)size) != NULL || memchr(octets, '\n', (size_t)size) != NULL)
            return -1;
        total = size + 3;
    }
    else if (PyBytes_CheckExact(value)) {
        size = PyBytes_GET_SIZE(value);
        total = size + 6;
        for (Py_ssize_t rest = size; rest >= 10; rest /= 10)
            total++;
    }
    else {
        return -1;
    }
    return s->max_sent >= 0 && total > s->max_sent ? -1 : total;
}

static char *write_resp(Splitter *s, char *to, PyObject *value)
{
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    if (is_simple(s, value))
        *to++ = '+';
    else
        to += sprintf(to, "$%zd\r\n", size);
    memcpy(to, PyBytes_AS_STRING(value), (size_t)size);
    memcpy(to + size, "\r\n", 2);
    return to + size + 2;
}

static PyObject *encode_resp(Splitter *s, PyObject **values, Py_ssize_t count)
{
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = resp_size(s, values[i]);
        if (size < 0 || size > PY_SSIZE_T_MAX - 64 - total)
            Py_RETURN_NONE;
        total += size;
    }
    /* sprintf() ends what it writes with a nought: in the octet that Python keeps behind every bytes */
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, total);
    if (encoded == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(encoded);
    for (Py_ssize_t i = 0; i < count; i++)
        to = write_resp(s, to, values[i]);
    return encoded;
}

/* Messages of one size, and nothing around them. */
static PyObject *encode_fixed(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    Py_ssize_t size = s->size;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyBytes_CheckExact(messages[i]) || PyBytes_GET_SIZE(messages[i]) != size)
            Py_RETURN_NONE;
    if (count == 1)
        return Py_NewRef(messages[0]);
    if (size > (PY_SSIZE_T_MAX - 64) / Py_MAX(count, 1))
        Py_RETURN_NONE;
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, count * size);
    if (encoded == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(encoded);
    for (Py_ssize_t i = 0; i < count; i++, to += size)
        copy_octets(to, PyBytes_AS_STRING(messages[i]), size);
    return encoded;
}

/* All others but RESP. */
static PyObject *encode_all(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    Py_ssize_t total = 0, frame;
    for (Py_ssize_t i = 0; i < count; i++) {
        if ((frame = frame_size(s, messages[i])) < 0)
            Py_RETURN_NONE;
        frame += PyBytes_GET_SIZE(messages[i]);
        if (frame > PY_SSIZE_T_MAX - 64 - total)
            Py_RETURN_NONE;
        total += frame;
    }
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, total);
    if (encoded == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(encoded);
    for (Py_ssize_t i = 0; i < count; i++)
        if ((to = write_message(s, to, messages[i])) == NULL) {
            Py_DECREF(encoded);
            Py_RETURN_NONE;
        }
    return encoded;
}

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

PyObject *split_encode_many(PyObject *splitter, PyObject *messages)
{
    if (PyList_CheckExact(messages))
        return encode_these((Splitter *)splitter, ((PyListObject *)messages)->ob_item, PyList_GET_SIZE(messages));
    Py_RETURN_NONE;
}

PyObject *split_encode_one(PyObject *splitter, PyObject *message)
{
    return encode_these((Splitter *)splitter, &message, 1);
}
