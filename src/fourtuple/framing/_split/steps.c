/* One step of each splitter: cut the message at `start`, or return why not.
 *
 * A step raises no error for an invalid message. It returns LEAVE, and the reference decoder in Python finds the error.
 * So each error text exists only once; and in doubt a step leaves the message, too: Python knows the exact bounds.
 */
#include "framing/_split/split.h"

/* All messages have one size, so one step cuts all that have come: a step for each would cost more than the cut. */
Step split_fixed(Decoder *d, Batch *batch)
{
    Py_ssize_t size = d->splitter->plus, start = d->start, count = Py_MIN(held(d) / size, batch->limit);
    if (PyList_GET_SIZE(batch->messages)) { /* behind a large message, which was gathered: more are rare */
        d->start += size;
        return deliver(d, batch, cut_out(d, start, d->start));
    }
    PyObject *messages = PyList_New(count);
    for (Py_ssize_t i = 0; messages != NULL && i < count; i++, d->start += size) {
        PyObject *message = cut_out(d, d->start, d->start + size);
        PyList_SET_ITEM(messages, i, message);
        if (message == NULL)
            Py_CLEAR(messages);
    }
    if (messages == NULL)
        return RAISED;
    Py_SETREF(batch->messages, messages);
    return ON;
}

/* --- a length of 1 to 8 octets ------------------------------------------------------------------------------------ */

static inline uint64_t number_at(const unsigned char *field, Py_ssize_t width, bool little)
{
    uint64_t number = 0;
    for (Py_ssize_t i = 0; i < width; i++)
        number = number << 8 | field[little ? width - 1 - i : i];
    return number;
}

Step split_length(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t start = d->start, size;
    const char *message = octets_at(d, start);
    const unsigned char *field = (const unsigned char *)message + s->offset;
    /* for the most common width, the compiler makes one instruction of the loop */
    uint64_t number = s->width == 4 ? number_at(field, 4, s->little) : number_at(field, s->width, s->little);
    if (number > ENDLESS)
        return LEAVE;
    size = (Py_ssize_t)number + s->plus;
    if (size < s->smallest || (s->max >= 0 && size - s->skip > s->max))
        return LEAVE;
    if (s->lead != NULL && memcmp(message, PyBytes_AS_STRING(s->lead), (size_t)s->offset) != 0)
        return LEAVE;
    if (size > held(d))
        return more(d, size);
    d->start = start + size;
    d->need = s->header;
    return deliver(d, batch, cut_out(d, start + s->skip, start + size));
}

/* --- a length in decimal digits ----------------------------------------------------------------------------------- */

Step split_decimal(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t available = held(d), at = 0, size = 0, ending = PyBytes_GET_SIZE(s->tail);
    const char *octets = octets_at(d, d->start);
    for (; at < available && octets[at] >= '0' && octets[at] <= '9'; at++)
        if ((size = size * 10 + octets[at] - '0') > ENDLESS)
            return LEAVE;
    if (at > 0 && octets[0] == '0' && (at > 1 || !ending))
        return LEAVE; /* a leading zero, or size 0 where a message must not be empty */
    if (at == available)
        return more(d, at + 1);
    if (at == 0 || octets[at] != s->colon || (s->max >= 0 && size > s->max))
        return LEAVE;
    Py_ssize_t from = d->start + at + 1, whole = at + 1 + size + ending;
    if (whole > available)
        return more(d, whole);
    if (ending && octets[whole - 1] != *PyBytes_AS_STRING(s->tail))
        return LEAVE;
    d->start += whole;
    d->need = 1;
    return deliver(d, batch, cut_out(d, from, from + size));
}

/* --- a delimiter -------------------------------------------------------------------------------------------------- */

/* Where the delimiter begins between `from` and `end`; NULL if it is not there. Searches each octet once. */
const char *split_find(Splitter *s, const char *from, const char *end)
{
    const char *mark = PyBytes_AS_STRING(s->delimiter), *at = NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(s->delimiter);
    if (size == 1)
        at = memchr(from, *mark, (size_t)(end - from));
    else if (size == 2) {
        /* mostly CR LF: its LF rarely occurs alone, and memchr(3) is several times faster than memmem(3) */
        const char *last = from + 1;
        while (last < end && (last = memchr(last, mark[1], (size_t)(end - last))) != NULL) {
            if (last[-1] == *mark) {
                at = last - 1;
                break;
            }
            last++;
        }
    }
    else if (size <= end - from)
        at = memmem(from, (size_t)(end - from), mark, (size_t)size);
    SEARCHED((at != NULL ? at + size : end) - from);
    return at;
}

Step split_delimited(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t start = d->start, seen = d->need - 1, length = PyBytes_GET_SIZE(s->delimiter), size;
    const char *octets = octets_at(d, start), *end = octets_at(d, d->end);
    const char *at = split_find(s, octets + Py_MIN(seen, held(d)), end);
    size = (at != NULL ? at : end) - octets;
    if (at != NULL && s->strip_cr && size && at[-1] == '\r')
        size--;
    if (s->max >= 0 && size > s->max) /* a delimiter that has begun may be part of it: Python looks */
        return LEAVE;
    if (at == NULL)
        /* the beginning of a longer delimiter may already be at the end */
        return more(d, Py_MAX(0, size - length + 1) + 1);
    d->start = start + (at - octets) + length;
    d->need = 1;
    return deliver(d, batch, cut_out(d, start, s->keep ? d->start : start + size));
}

/* --- both methods of RFC 6587, distinguished at each message by its first octet ----------------------------------- */

Step split_syslog(Decoder *d, Batch *batch)
{
    char first = *octets_at(d, d->start);
    return first >= '1' && first <= '9' ? split_decimal(d, batch) : split_delimited(d, batch);
}
