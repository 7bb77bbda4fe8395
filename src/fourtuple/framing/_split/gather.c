/* Large messages, gathered directly into their final object: those of one size, and those after a binary length. */
#include "framing/_split/split.h"

#include <stdlib.h>

/* Larger messages do not make malloc(3) keep more memory; it keeps at most eight times this size. */
#define MOST_EXPECTED (4 * 1024 * 1024)

/* The number of octets in front of the unfinished message's own (its length); -1 if it is small or its size unknown. */
Py_ssize_t split_head_of_large(Decoder *d)
{
    Splitter *s = d->splitter;
    Py_ssize_t head = -1;
    if (d->need < LARGE || !held(d))
        return -1;
    if (s->size)
        head = 0;
    else if (s->width)
        head = held(d) >= s->smallest ? s->skip : -1;
    return head >= 0 && d->need - head >= LARGE ? head : -1;
}

/* Let the window begin with the unfinished message itself. */
int split_begin_gathering(Decoder *d, Py_ssize_t head, Py_ssize_t coming)
{
    d->head = PyBytes_FromStringAndSize(octets_at(d, d->start), head);
    if (d->head == NULL)
        return -1;
    d->start += head;
    d->ours = false; /* split_reserve() then makes a separate buffer */
    Py_ssize_t size = gathered_size(d);
    if (split_reserve(d, Py_MIN(coming, size - held(d)), size) < 0) {
        d->start -= head;
        Py_CLEAR(d->head);
        return -1;
    }
    d->gathering = true;
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

/* Add a read to the message that is being gathered; octets after the message become the window. */
Step split_gather(Decoder *d, PyObject *data, Batch *batch)
{
    Py_ssize_t came = PyBytes_GET_SIZE(data), size = gathered_size(d), taken = Py_MIN(came, size - d->end);
    if (taken && split_append(d, PyBytes_AS_STRING(data), taken, size) < 0)
        return RAISED;
    if (d->end < size)
        return MORE;
    expect_more(size);
    d->whole = d->buf;
    d->buf = NULL;
    adopt(d, data, taken);
    d->gathering = false;
    d->need = d->splitter->least;
    return deliver(batch, Py_NewRef(d->whole));
}
