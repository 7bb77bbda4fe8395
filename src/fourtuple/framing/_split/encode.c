/* Encode several messages: one allocation, one copy.
 *
 * Only valid messages of common types, and of framings that write in C what they read (Split._encoder). All other
 * messages are left to the Python twin, which encodes them or raises.
 */
#include "framing/_split/split.h"

static inline Py_ssize_t digits_of(Py_ssize_t size)
{
    Py_ssize_t digits = 1;
    for (; size >= 10; size /= 10)
        digits++;
    return digits;
}

static inline char *write_digits(char *to, Py_ssize_t size)
{
    char *end = to + digits_of(size), *at = end;
    do
        *--at = (char)('0' + size % 10);
    while (size /= 10);
    return end;
}

/* Whether a message is a simple string of RESP; other bytes are bulk strings there. */
static inline bool is_simple(Splitter *s, PyObject *message) { return Py_IS_TYPE(message, (PyTypeObject *)s->simple); }

/* The size of what is written in front of a message; -1 if Python has to encode it. */
static inline Py_ssize_t head_size(Splitter *s, PyObject *message)
{
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    const char *octets = PyBytes_AS_STRING(message);
    if (s->width) {
        long long number = size + s->skip - s->plus;
        bool fits = number >= 0 && (s->width == 8 || (uint64_t)number >> (8 * s->width) == 0);
        return fits ? s->header : -1;
    }
    if (s->step == split_delimited)
        return size && s->strip_cr && octets[size - 1] == '\r' ? -1 : 0; /* the receiver might strip it */
    if (s->simple == NULL)
        return size || PyBytes_GET_SIZE(s->tail) ? digits_of(size) + 1 : -1;
    if (is_simple(s, message))
        return memchr(octets, '\r', (size_t)size) || memchr(octets, '\n', (size_t)size) ? -1 : 1;
    return digits_of(size) + 3;
}

/* The encoded size of a message; -1 if Python has to encode it. */
static inline Py_ssize_t frame_size(Splitter *s, PyObject *message)
{
    if (!PyBytes_CheckExact(message) && !is_simple(s, message))
        return -1;
    Py_ssize_t size = PyBytes_GET_SIZE(message), head = head_size(s, message);
    Py_ssize_t whole = head + size + PyBytes_GET_SIZE(s->tail);
    if (head < 0 || (s->max_sent >= 0 && (s->simple != NULL ? whole : size) > s->max_sent))
        return -1;
    return whole;
}

static char *write_length(Splitter *s, char *to, Py_ssize_t size)
{
    uint64_t number = (uint64_t)(size + s->skip - s->plus);
    if (s->lead != NULL)
        memcpy(to, PyBytes_AS_STRING(s->lead), (size_t)s->offset);
    else
        memset(to, 0, (size_t)s->offset);
    to += s->offset;
    for (Py_ssize_t i = 0; i < s->width; i++, number >>= 8)
        to[s->little ? i : s->width - 1 - i] = (char)number;
    return to + s->width;
}

/* Write one message after the others; NULL if it contains the delimiter. */
static inline char *write_message(Splitter *s, char *to, PyObject *message)
{
    Py_ssize_t size = PyBytes_GET_SIZE(message), behind = PyBytes_GET_SIZE(s->tail);
    if (s->width)
        to = write_length(s, to, size);
    else if (s->colon) {
        to = write_digits(to, size);
        *to++ = (char)s->colon;
    }
    else if (s->simple != NULL) {
        *to++ = is_simple(s, message) ? '+' : '$';
        if (to[-1] == '$')
            to = (char *)memcpy(write_digits(to, size), "\r\n", 2) + 2;
    }
    copy_octets(to, PyBytes_AS_STRING(message), size);
    char *end = to + size;
    if (behind)
        memcpy(end, PyBytes_AS_STRING(s->tail), (size_t)behind);
    return s->step == split_delimited && split_find(s, to, end + behind) != end ? NULL : end + behind;
}

/* Messages of one size, with nothing around them: one that is alone is encoded already. */
static PyObject *encode_fixed(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    Py_ssize_t size = s->plus;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyBytes_CheckExact(messages[i]) || PyBytes_GET_SIZE(messages[i]) != size)
            Py_RETURN_NONE;
    if (count == 1)
        return Py_NewRef(*messages);
    if (count > PY_SSIZE_T_MAX / 2 / size)
        Py_RETURN_NONE;
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, count * size);
    for (Py_ssize_t i = 0; i < count && encoded != NULL; i++)
        copy_octets(PyBytes_AS_STRING(encoded) + i * size, PyBytes_AS_STRING(messages[i]), size);
    return encoded;
}

static PyObject *encode_these(Splitter *s, PyObject **messages, Py_ssize_t count)
{
    if (s->step == split_fixed)
        return encode_fixed(s, messages, count);
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = frame_size(s, messages[i]);
        if (size < 0 || size > PY_SSIZE_T_MAX - 64 - total)
            Py_RETURN_NONE;
        total += size;
    }
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, total);
    char *to = encoded == NULL ? NULL : PyBytes_AS_STRING(encoded);
    for (Py_ssize_t i = 0; i < count && to != NULL; i++)
        to = write_message(s, to, messages[i]);
    if (encoded != NULL && to == NULL)
        Py_SETREF(encoded, Py_NewRef(Py_None));
    return encoded;
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
