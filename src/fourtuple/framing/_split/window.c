/* The window: the octets that a decoder holds, and how they move. */
#include "framing/_split/split.h"

struct pool split_pool;

#ifdef FOURTUPLE_COUNT
long long split_searched, split_copied;

PyObject *split_work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *both = Py_BuildValue("LL", split_searched, split_copied);
    split_searched = split_copied = 0;
    return both;
}
#endif

void split_drop_window(Decoder *d)
{
    Py_CLEAR(d->buf);
    d->base = d->start = d->end = 0;
    d->ours = false;
}

/* Make room for `extra` octets after `end`, in a separate buffer; octets before `start` are dropped. `most` is the
 * largest size that the window can ever need, if that is known. */
int split_reserve(Decoder *d, Py_ssize_t extra, Py_ssize_t most)
{
    Py_ssize_t left = held(d), room;
    if (extra > PY_SSIZE_T_MAX / 2 - left) {
        PyErr_NoMemory();
        return -1;
    }
    if (d->ours && extra <= PyBytes_GET_SIZE(d->buf) - d->end)
        return 0;
    room = Py_MIN(Py_MAX(left + extra, 2 * left), Py_MAX(left + extra, most));
    if (d->ours && d->start == 0) {
        /* realloc(3) moves the pages of a large buffer (mremap(2)), not its octets; for a small one it is as cheap */
        if (_PyBytes_Resize(&d->buf, room) < 0) {
            split_drop_window(d);
            d->gathering = false;
            return -1;
        }
        return 0;
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

int split_append(Decoder *d, const char *octets, Py_ssize_t size, Py_ssize_t most)
{
    if (split_reserve(d, size, most) < 0)
        return -1;
    memcpy(PyBytes_AS_STRING(d->buf) + d->end, octets, (size_t)size);
    COPIED(size);
    d->end += size;
    return 0;
}

/* All octets that are not decoded yet, as bytes; `with_batch` adds those of the latest batch in front, unchanged. */
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
