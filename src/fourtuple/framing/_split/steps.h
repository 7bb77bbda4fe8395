/* One step of each splitter: cut the message at `start`, or say why not.
 *
 * A step never makes an error. It says BROKEN, and the reference decoder in Python finds the same and says it in
 * words: so they stand once.
 */
#ifndef FOURTUPLE_SPLIT_STEPS_H
#define FOURTUPLE_SPLIT_STEPS_H

#include "window.h"

#include <stdlib.h>

/* The messages of one feed, gathered before the list is made, whose size is known then. */
#define FEW 64
struct Batch {
    PyObject **items;
    Py_ssize_t count, room;
    PyObject *few[FEW];
};

/* Takes over the reference to `message`; NULL is passed on as the failure that it is. */
static inline Step deliver(Batch *batch, PyObject *message)
{
    if (message == NULL)
        return RAISED;
    if (batch->count == batch->room) {
        PyObject **more = batch->items == batch->few ? NULL : batch->items;
        more = PyMem_Realloc(more, (size_t)batch->room * 2 * sizeof(*more));
        if (more == NULL) {
            Py_DECREF(message);
            PyErr_NoMemory();
            return RAISED;
        }
        if (batch->items == batch->few)
            memcpy(more, batch->few, sizeof(batch->few));
        batch->items = more;
        batch->room *= 2;
    }
    batch->items[batch->count++] = message;
    return ON;
}

static inline Step more(Decoder *d, Py_ssize_t need)
{
    d->need = need;
    return MORE;
}

/* --- one size for all; cut_fixed() does what is usual ------------------------------------------------------------ */

static Step fixed_step(Decoder *d, Batch *batch)
{
    Py_ssize_t start = d->start, size = d->splitter->size;
    if (held(d) < size)
        return more(d, size);
    d->start = start + size;
    return deliver(batch, cut_out(d, start, start + size));
}

/* --- a length of 1 to 8 octets -------------------------------------------------------------------------------- */

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

static Step length_step(Decoder *d, Batch *batch)
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

/* --- a length in decimal digits ------------------------------------------------------------------------------- */

static Step decimal_step(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t available = held(d), at = 0;
    uint64_t number = 0;
    if (available == 0)
        return more(d, 1);
    const char *octets = octets_at(d, d->start);
    Py_ssize_t look = Py_MIN(available, s->digits + 1);
    for (; at < look && octets[at] >= '0' && octets[at] <= '9'; at++)
        /* digits are at most 20: of those that do not fit in 64 bits all are beyond ENDLESS anyway */
        number = number > ENDLESS ? ENDLESS + 1 : number * 10 + (uint64_t)(octets[at] - '0');
    if (at > 0 && octets[0] == '0' && (at > 1 || !s->has_comma))
        return BROKEN; /* a zero before other digits, or of a message that must have octets */
    if (at == look) {
        if (at > s->digits)
            return BROKEN;
        return more(d, at + 1);
    }
    if (at == 0 || octets[at] != s->colon)
        return BROKEN;
    if (s->max >= 0 && number > (uint64_t)s->max)
        return BROKEN;
    Py_ssize_t body = at + 1;
    Py_ssize_t size = number > ENDLESS ? ENDLESS : (Py_ssize_t)number;
    if (body + size + s->has_comma > available)
        return more(d, body + size + s->has_comma);
    if (s->has_comma && octets[body + size] != s->comma)
        return BROKEN;
    Py_ssize_t from = d->start + body;
    d->start = from + size + s->has_comma;
    d->need = 1;
    return deliver(batch, cut_out(d, from, from + size));
}

/* --- delimiters ----------------------------------------------------------------------------------------------- */

/* Where a delimiter begins in `from` to `end`, and its size; NULL where there is none. Searches each octet once. */
static inline const char *find_delimiter(Splitter *s, const char *from, const char *end, Py_ssize_t *size)
{
    const char *at = NULL;
    const Span *only = s->spans;
    *size = only->size;
    if (s->count > 1) {
        for (at = from; at < end; at++) {
            if (!s->begins[(unsigned char)*at])
                continue;
            for (const Span *each = s->spans; each < s->spans + s->count; each++)
                if (each->size <= end - at && memcmp(at, each->octets, (size_t)each->size) == 0) {
                    *size = each->size;
                    SEARCHED(at + each->size - from);
                    return at;
                }
        }
        at = NULL;
    }
    else if (only->size == 1)
        at = memchr(from, only->octets[0], (size_t)(end - from));
    else if (only->size == 2) {
        /* CR LF above all: its LF is rare without it, and memchr is several times faster than memmem */
        const char *last = from + 1;
        while (last < end && (last = memchr(last, only->octets[1], (size_t)(end - last))) != NULL) {
            if (last[-1] == only->octets[0]) {
                at = last - 1;
                break;
            }
            last++;
        }
    }
    else if (only->size <= end - from)
        at = memmem(from, (size_t)(end - from), only->octets, (size_t)only->size);
    SEARCHED((at != NULL ? at + *size : end) - from);
    return at;
}

/* How many of the last octets may turn out to be the beginning of an ending. */
static Py_ssize_t begun(Decoder *d)
{
    Splitter *s = d->splitter;
    const char *end = octets_at(d, d->end);
    Py_ssize_t size = Py_MIN(s->longest, held(d));
    for (; size > 0; size--) {
        for (const Span *each = s->spans; each < s->spans + s->count; each++)
            if (size < each->size && memcmp(end - size, each->octets, (size_t)size) == 0)
                return size;
        if (s->strip_cr && size == 1 && end[-1] == '\r')
            return size;
    }
    return 0;
}

/* Swallow a CR, an LF, or a CR and an LF; what has not come yet later. */
static void swallow_next(Decoder *d)
{
    while (d->flags & SWALLOW && held(d)) {
        char octet = *octets_at(d, d->start);
        int swallowed = (octet == '\r' && d->flags & SWALLOW_CR) || (octet == '\n' && d->flags & SWALLOW_LF);
        d->flags &= ~(unsigned)SWALLOW;
        if (!swallowed)
            return;
        d->start++;
        if (octet == '\r')
            d->flags |= SWALLOW_LF;
    }
}

static void behind_delimiter(Decoder *d)
{
    d->need = 1;
    if (d->splitter->swallows) {
        d->flags |= SWALLOW;
        swallow_next(d);
    }
}

/* Skip `to` there; `ended` says whether the delimiter was found. */
static void discard(Decoder *d, Py_ssize_t to, int ended)
{
    d->skipped += to - d->start;
    d->start = to;
    d->need = 1;
    if (ended) {
        d->flags &= ~(unsigned)DISCARDING;
        behind_delimiter(d);
    }
}

/* What stands in the place of a message that is skipped: the reference decoder makes it. */
static PyObject *skipped_message(Decoder *d)
{
    Splitter *s = d->splitter;
    PyObject *message = NULL, *messages = NULL, *decoder, *octets;
    Py_ssize_t enough = Py_MIN(held(d), s->max + s->longest + 2);
    octets = PyBytes_FromStringAndSize(octets_at(d, d->start), enough);
    decoder = octets == NULL ? NULL : PyObject_CallMethod(s->framing, "reference", NULL);
    if (decoder != NULL)
        messages = PyObject_CallMethod(decoder, "feed", "Oi", octets, 1);
    if (messages != NULL && PyList_CheckExact(messages) && PyList_GET_SIZE(messages) == 1)
        message = Py_NewRef(PyList_GET_ITEM(messages, 0));
    else if (messages != NULL)
        PyErr_SetString(PyExc_SystemError, "the C finds a message too long, and its reference does not");
    Py_XDECREF(octets);
    Py_XDECREF(decoder);
    Py_XDECREF(messages);
    return message;
}

static Step delimiter_step(Decoder *d, Batch *batch)
{
    Splitter *s = d->splitter;
    Py_ssize_t start = d->start, seen = d->need - 1, length, size;
    if (held(d) == 0)
        return more(d, 1);
    const char *octets = octets_at(d, start), *end = octets_at(d, d->end);
    const char *at = find_delimiter(s, octets + Py_MIN(seen, held(d)), end, &length);
    if (d->flags & DISCARDING) {
        Py_ssize_t to = at != NULL ? at + length - octets : Py_MAX(0, held(d) - s->longest + 1);
        discard(d, start + to, at != NULL);
        if (at != NULL && batch->count == 0)
            d->base = d->start; /* what was skipped belongs to no message of this batch */
        return at != NULL ? ON : MORE;
    }
    size = (at != NULL ? at : end) - octets;
    if (at != NULL && s->strip_cr && size && at[-1] == '\r')
        size--;
    if (s->max >= 0 && size > s->max && (at != NULL || size - begun(d) > s->max)) {
        if (!s->resync)
            return BROKEN;
        Step step = deliver(batch, skipped_message(d));
        if (step == ON) {
            d->start += s->max;
            d->need = Py_MAX(0, seen - s->max) + 1;
            d->flags |= DISCARDING;
        }
        return step;
    }
    if (at == NULL)
        /* the first octets of a longer delimiter may be at the end already */
        return more(d, Py_MAX(0, size - s->longest + 1) + 1);
    d->start = start + (at - octets) + length;
    Step step = deliver(batch, cut_out(d, start, s->keep ? d->start : start + size));
    behind_delimiter(d);
    return step;
}

/* --- both methods of RFC 6587, told apart at each message by its first octet ------------------------------------ */

static inline int counts(Decoder *d)
{
    char first = *octets_at(d, d->start);
    return first >= '1' && first <= '9';
}

static Step syslog_step(Decoder *d, Batch *batch)
{
    if (held(d) == 0)
        return more(d, 1);
    return counts(d) ? decimal_step(d, batch) : delimiter_step(d, batch);
}

/* --- large messages, gathered in place -------------------------------------------------------------------------- */

/* For messages beyond this size, no more memory is kept: eight times as much it is at most. */
#define MOST_EXPECTED (4 * 1024 * 1024)

/* The octets before the unfinished message's own; -1 where it is small, or its size is not known. */
static Py_ssize_t head_of_large(Decoder *d)
{
    Splitter *s = d->splitter;
    Py_ssize_t head = -1;
    if (d->need < LARGE)
        return -1;
    if (s->size)
        head = 0;
    else if (s->width)
        head = held(d) >= s->smallest ? s->skip : -1;
    else if (s->digits && (s->step != syslog_step || counts(d)))
        head = (const char *)memchr(octets_at(d, d->start), s->colon, (size_t)held(d)) + 1 - octets_at(d, d->start);
    return head >= 0 && d->need - head - s->has_comma >= LARGE ? head : -1;
}

static inline Py_ssize_t gathered_size(Decoder *d)
{
    return d->need - PyBytes_GET_SIZE(d->head) - d->splitter->has_comma;
}

/* Let the window begin with the unfinished message itself. */
static int begin_gathering(Decoder *d, Py_ssize_t head, Py_ssize_t coming)
{
    d->head = PyBytes_FromStringAndSize(octets_at(d, d->start), head);
    if (d->head == NULL)
        return -1;
    d->start += head;
    d->flags &= ~(unsigned)OURS; /* a room of its own, whatever there was */
    Py_ssize_t size = gathered_size(d);
    if (reserve(d, Py_MIN(coming, size - held(d)), size) < 0) {
        d->start -= head;
        Py_CLEAR(d->head);
        return -1;
    }
    d->flags |= GATHERING;
    return 0;
}

/* Be an ordinary window again, with `rest` behind it. */
static int end_gathering(Decoder *d, const char *rest, Py_ssize_t size)
{
    PyObject *all = all_octets(d, 0);
    if (all == NULL)
        return -1;
    Py_SETREF(d->buf, all);
    Py_CLEAR(d->head);
    d->flags &= ~(unsigned)(GATHERING | OURS);
    d->base = d->start = 0;
    d->end = PyBytes_GET_SIZE(all);
    d->need = 1;
    return size ? append(d, rest, size, PY_SSIZE_T_MAX) : 0;
}

/* A message of this size did come: let malloc(3) keep what the next one needs.
 *
 * glibc gives what is free at the top of its heap back to the kernel, and gets it again page by page, with a fault and a
 * clearing each, which costs more than all else that is done with a message of 1 MiB. From a mapped block that is freed
 * it learns that such blocks come and go, and keeps up to twice its size from then on (mallopt(3), M_MMAP_THRESHOLD).
 * So it is shown one as large as all that is in use at once: message, reply, what was between them, and the octets sent.
 * Nobody touches that block, so it costs two system calls; other allocators are not impressed.
 */
static void expect_more(Py_ssize_t size)
{
    static Py_ssize_t expected;
    size = Py_MIN(size, MOST_EXPECTED);
    if (size <= expected)
        return;
    expected = Py_MIN(size + size / 8, MOST_EXPECTED);
    void *volatile block = malloc(4 * (size_t)expected);
    free(block);
}

/* The gathered message is whole; nothing is held behind it yet. */
static void gathered(Decoder *d)
{
    expect_more(PyBytes_GET_SIZE(d->buf));
    d->whole = d->buf;
    d->buf = NULL;
    drop_window(d);
    d->flags &= ~(unsigned)GATHERING;
    d->need = d->splitter->least;
}

/* Add a read to the message that is being gathered; what is behind it becomes the window. */
static Step gather(Decoder *d, PyObject *data, Batch *batch)
{
    Splitter *s = d->splitter;
    const char *octets = PyBytes_AS_STRING(data);
    Py_ssize_t came = PyBytes_GET_SIZE(data), size = gathered_size(d), taken = Py_MIN(came, size - d->end);
    if (taken && append(d, octets, taken, size) < 0)
        return RAISED;
    if (d->end < size || (s->has_comma && taken == came))
        return MORE;
    if (s->has_comma && octets[taken] != s->comma)
        return end_gathering(d, octets + taken, came - taken) < 0 ? RAISED : BROKEN;
    gathered(d);
    adopt(d, data, taken);
    d->start += s->has_comma;
    return deliver(batch, Py_NewRef(d->whole));
}

#endif
