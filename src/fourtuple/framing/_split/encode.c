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

/* The encoded size of a message; -1 if Python has to encode it. */
static inline Py_ssize_t frame_size(Splitter *s, PyObject *message)
{
    if (!PyBytes_CheckExact(message))
        return -1;
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    if (s->max_sent >= 0 && size > s->max_sent)
        return -1;
    if (s->width) {
        long long number = size + s->skip - s->plus;
        int fits = number >= 0 && (s->width == 8 || (uint64_t)number >> (8 * s->width) == 0);
        return fits ? s->header + size : -1;
    }
    if (s->colon)
        return size || s->comma ? digits_of(size) + 1 + size + (s->comma != 0) : -1;
    if (size && s->strip_cr && PyBytes_AS_STRING(message)[size - 1] == '\r')
        return -1; /* the receiver might strip it */
    return size + PyBytes_GET_SIZE(s->delimiter);
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

/* Write one message after the others; NULL if it contains the delimiter. */
static inline char *write_message(Splitter *s, char *to, PyObject *message)
{
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    if (s->width)
        to = write_length(s, to, size);
    else if (s->colon)
        to += sprintf(to, "%zd%c", size, (char)s->colon);
    copy_octets(to, PyBytes_AS_STRING(message), size);
    if (s->comma)
        to[size++] = (char)s->comma;
    if (s->delimiter != NULL && !s->colon) {
        Py_ssize_t length = PyBytes_GET_SIZE(s->delimiter);
        memcpy(to + size, PyBytes_AS_STRING(s->delimiter), (size_t)length);
        if (split_find(s, to, to + size + length) != to + size)
            return NULL;
        size += length;
    }
    return to + size;
}

/* --- RESP: bulk strings and simple strings, the most frequent replies --------------------------------------------- */

static inline int is_simple(Splitter *s, PyObject *value) { return Py_IS_TYPE(value, (PyTypeObject *)s->simple); }

/* The encoded size of one value; -1 if Python has to encode it. */
static inline Py_ssize_t resp_size(Splitter *s, PyObject *value)
{
    bool simple = is_simple(s, value);
    if (!simple && !PyBytes_CheckExact(value))
        return -1;
    const char *octets = PyBytes_AS_STRING(value);
    Py_ssize_t size = PyBytes_GET_SIZE(value), total = simple ? size + 3 : digits_of(size) + size + 5;
    if (simple && (memchr(octets, '\r', (size_t)size) != NULL || memchr(octets, '\n', (size_t)size) != NULL))
        return -1;
    return s->max_sent >= 0 && total > s->max_sent ? -1 : total;
}

static inline char *write_resp(Splitter *s, char *to, PyObject *value)
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

/* The octets of all messages: `sized` returns the size of each, `written` writes it. Both may leave it to Python.
 * (sprintf() ends its output with a NUL. There is always room for it: Python keeps one more octet after each bytes.) */
static inline PyObject *joined(Splitter *s, PyObject **messages, Py_ssize_t count,
                               Py_ssize_t (*sized)(Splitter *, PyObject *), char *(*written)(Splitter *, char *, PyObject *))
{
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = sized(s, messages[i]);
        if (size < 0 || size > PY_SSIZE_T_MAX - 64 - total)
            Py_RETURN_NONE;
        total += size;
    }
    PyObject *encoded = PyBytes_FromStringAndSize(NULL, total);
    char *to = encoded == NULL ? NULL : PyBytes_AS_STRING(encoded);
    for (Py_ssize_t i = 0; i < count && to != NULL; i++)
        to = written(s, to, messages[i]);
    if (encoded != NULL && to == NULL) {
        Py_DECREF(encoded);
        Py_RETURN_NONE;
    }
    return encoded;
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
    if (s->simple != NULL)
        return joined(s, messages, count, resp_size, write_resp);
    if (s->step == split_fixed)
        return encode_fixed(s, messages, count);
    return joined(s, messages, count, frame_size, write_message);
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
