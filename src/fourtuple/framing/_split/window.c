/* The window: the octets that a decoder holds, and how they move. Large messages are gathered in their final object. */
#include "framing/_split/split.h"

#include <stdlib.h>

struct pool split_pool;

long long split_work[2]; /* octets searched and copied: the tests read and reset it by ctypes */

/* Larger messages do not make malloc(3) keep more memory; it keeps at most eight times this size. */
#define MOST_EXPECTED (4 * 1024 * 1024)

void split_drop_window(Decoder *d)
{
    Py_CLEAR(d->buf);
    d->base = d->start = d->end = 0;
    d->ours = false;
}

int split_reserve(Decoder *d, Py_ssize_t extra)
{
    /* Twice the octets, so that each one moves a bounded number of times; but no more than a large message needs. */
    Py_ssize_t left = held(d), room = left + extra, most = d->gathering ? left + lacks(d) : PY_SSIZE_T_MAX;
    if (d->ours && extra <= PyBytes_GET_SIZE(d->buf) - d->end)
        return 0;
    room = Py_MAX(room, Py_MIN(2 * left, most));
    if (d->ours && d->start == 0) {
        /* realloc(3) moves the pages of a large buffer (mremap(2)), not its octets; for a small one it is as cheap */
        if (_PyBytes_Resize(&d->buf, room) == 0)
            return 0;
        split_reset(d);
        return -1;
    }
    PyObject *grown = PyBytes_FromStringAndSize(NULL, room);
    if (grown == NULL)
        return -1;
    memcpy(PyBytes_AS_STRING(grown), octets_at(d, d->start), (size_t)left);
    COPIED(left);
    Py_SETREF(d->buf, grown);
    d->ours = true;
    d->base = d->start = 0;
    d->end = left;
    return 0;
}

/* A message of this size has come: let malloc(3) keep the memory that the next one needs.
 *
 * glibc returns free memory at the top of its heap to the kernel and gets it back page by page. Each page costs a fault
 * and is cleared, which takes longer than everything else for a message of 1 MiB. When a mapped block is freed, glibc
 * raises its thresholds and keeps up to twice the block's size from then on (mallopt(3), M_MMAP_THRESHOLD). So this
 * allocates and frees a block as large as everything in use at once: message, reply, intermediate values and the octets
 * sent. The block is never touched, so it costs two system calls. Other allocators ignore this.
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

int split_gather(Decoder *d)
{
    Py_ssize_t head = d->splitter->skip;
    if (d->gathering)
        return 0;
    d->head = PyBytes_FromStringAndSize(octets_at(d, d->start), head);
    if (d->head == NULL)
        return -1;
    d->start += head;
    d->ours = false; /* split_reserve() then makes a separate buffer */
    d->gathering = true;
    return 0;
}

int split_append(Decoder *d, PyObject *data)
{
    if (is_large(d) && split_gather(d) < 0)
        return -1;
    Py_ssize_t size = PyBytes_GET_SIZE(data), taken = d->gathering ? Py_MIN(size, lacks(d)) : size;
    if (taken) {
        if (split_reserve(d, taken) < 0)
            return -1;
        memcpy(PyBytes_AS_STRING(d->buf) + d->end, PyBytes_AS_STRING(data), (size_t)taken);
        COPIED(taken);
        d->end += taken;
    }
    if (d->gathering && lacks(d) == 0) {
        expect_more(d->end);
        d->whole = d->buf;
        d->buf = NULL;
        d->gathering = false;
        d->need = d->splitter->least;
        adopt(d, data, taken);
    }
    return 0;
}

PyObject *split_all_octets(Decoder *d, bool with_batch)
{
    bool whole = with_batch && d->whole != NULL;
    Py_ssize_t from = with_batch ? d->base : d->start, window = d->end - from;
    PyObject *all = Py_NewRef(d->gathering || whole ? d->head : d->splitter->nothing);
    if (whole)
        PyBytes_Concat(&all, d->whole);
    if (window)
        PyBytes_ConcatAndDel(&all, PyBytes_FromStringAndSize(octets_at(d, from), window));
    COPIED(2 * (d->end - from));
    return all;
}
