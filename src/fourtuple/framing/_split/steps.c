/* One step of each splitter: cut the message at `start`, or return why not.
 *
 * A step raises no error for an invalid message. It returns BROKEN, and the reference decoder in Python finds the same
 * error and raises it. So each error text exists only once.
 */
#include "framing/_split/split.h"

/* --- messages of one size ----------------------------------------------------------------------------------------- */

Step split_fixed(Decoder *d, Batch *batch)
{
    Py_ssize_t start = d->start, size = d->splitter->size;
    if (held(d) < size)
        return more(d, size);
    d->start = start + size;
    return deliver(batch, cut_out(d, start, start + size));
}

/* --- a length of 1 to 8 octets ------------------------------------------------------------------------------------ */

static inline uint64_t number_at(const unsigned char *at, Py_ssize_t width, int little)
{
    uint64_t number = 0;
    if (little)
        for (Py_ssize_t i = width; i-- > 0;)
            number = number << 8 | at[i];
    else
        for (Py_ssize_t i = 0; i < width; i++)
            number = number << 8 | at[i];
    return number;
}

Step split_length(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t start = d->start, size;
    if (held(d) < s->header)
        return more(d, s->header);
    const char *message = octets_at(d, start);
    uint64_t number = number_at((const unsigned char *)message + s->offset, s->width, s->little);
    if (number > ENDLESS) {
        if (s->max >= 0)
            return BROKEN;
        size = ENDLESS;
    }
    else
        size = (Py_ssize_t)((long long)number + s->plus);
    if (size < s->smallest || (s->max >= 0 && size - s->skip > s->max))
        return BROKEN;
    if (s->lead != NULL && memcmp(message, PyBytes_AS_STRING(s->lead), (size_t)s->offset) != 0)
        return BROKEN;
    if (size > held(d))
        return more(d, size);
    d->start = start + size;
    d->need = s->header;
    return deliver(batch, cut_out(d, start + s->skip, start + size));
}

/* --- a length in decimal digits ----------------------------------------------------------------------------------- */

Step split_decimal(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t available = held(d), at = 0;
    uint64_t number = 0;
    if (available == 0)
        return more(d, 1);
    const char *octets = octets_at(d, d->start);
    Py_ssize_t look = Py_MIN(available, s->digits + 1);
    for (; at < look && octets[at] >= '0' && octets[at] <= '9'; at++)
        /* capped, so that it does not overflow: a number of up to 20 digits may exceed 64 bits */
        number = number > ENDLESS ? ENDLESS + 1 : number * 10 + (uint64_t)(octets[at] - '0');
    if (at > 0 && octets[0] == '0' && (at > 1 || !s->has_comma))
        return BROKEN; /* a leading zero, or size 0 where a message must not be empty */
    if (at == look) {
        if (at > s->digits)
            return BROKEN;
        return more(d, at + 1);
    }
    if (at == 0 || octets[at] != s->colon_is)
        return BROKEN;
    if (s->max >= 0 && number > (uint64_t)s->max)
        return BROKEN;
    Py_ssize_t body = at + 1;
    Py_ssize_t size = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (body + size + s->has_comma > available)
        return more(d, body + size + s->has_comma);
    if (s->has_comma && octets[body + size] != s->comma_is)
        return BROKEN;
    Py_ssize_t from = d->start + body;
    d->start = from + size + s->has_comma;
    d->need = 1;
    return deliver(batch, cut_out(d, from, from + size));
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

/* How many of the last octets may be the beginning of the delimiter (or of a CR before it). */
static Py_ssize_t begun(Decoder *d)
{
    PyObject *delimiter = d->splitter->delimiter;
    const char *end = octets_at(d, d->end);
    Py_ssize_t size = Py_MIN(PyBytes_GET_SIZE(delimiter) - 1, held(d));
    while (size > 0 && memcmp(end - size, PyBytes_AS_STRING(delimiter), (size_t)size) != 0)
        size--;
    return size || !d->splitter->strip_cr || !held(d) ? size : end[-1] == '\r';
}

Step split_delimited(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t start = d->start, seen = d->need - 1, length = PyBytes_GET_SIZE(s->delimiter), size;
    if (held(d) == 0)
        return more(d, 1);
    const char *octets = octets_at(d, start), *end = octets_at(d, d->end);
    const char *at = split_find(s, octets + Py_MIN(seen, held(d)), end);
    size = (at != NULL ? at : end) - octets;
    if (at != NULL && s->strip_cr && size && at[-1] == '\r')
        size--;
    if (s->max >= 0 && size > s->max && (at != NULL || size - begun(d) > s->max))
        return BROKEN;
    if (at == NULL)
        /* the beginning of a longer delimiter may already be at the end */
        return more(d, Py_MAX(0, size - length + 1) + 1);
    d->start = start + (at - octets) + length;
    d->need = 1;
    return deliver(batch, cut_out(d, start, s->keep ? d->start : start + size));
}

/* --- both methods of RFC 6587, distinguished at each message by its first octet ----------------------------------- */

Step split_syslog(Decoder *d, Batch *batch)
{
    if (held(d) == 0)
        return more(d, 1);
    char first = *octets_at(d, d->start);
    return first >= '1' && first <= '9' ? split_decimal(d, batch) : split_delimited(d, batch);
}
