/* The decoder's state, and the window: the octets that it holds.
 *
 *     buf
 *     0          base                start             end
 *     | delivered | the latest batch  | not decoded yet |
 *
 * - A read that finds nothing left over is the window: nothing is copied until a message is cut out.
 * - Otherwise the window is a buffer of our own that grows by doubling, so that each octet is copied a fixed number
 *   of times, however small the pieces.
 * - A large message whose size is announced is gathered in the very object that it will be: the window begins with
 *   its first octet then, the octets before it wait in `head`, and `reserve` never asks for more than its size nor
 *   for more than twice of what came.
 *
 * Copies and searches are counted in a build with FOURTUPLE_COUNT: tests/framing proves with it that they are linear.
 */
#ifndef FOURTUPLE_SPLIT_WINDOW_H
#define FOURTUPLE_SPLIT_WINDOW_H

#define PY_SSIZE_T_CLEAN
#include "pool.h"

#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef FOURTUPLE_COUNT
static long long octets_searched, octets_copied;
#define SEARCHED(octets) (octets_searched += (octets))
#define COPIED(octets) (octets_copied += (octets))
#else
#define SEARCHED(octets) ((void)0)
#define COPIED(octets) ((void)0)
#endif

/* From this size on a message is gathered in place; below it, one more copy is cheaper than the bookkeeping. */
#define LARGE (16 * 1024)
/* No message of this size fits in memory: lengths beyond it wait for octets that cannot come. */
#define ENDLESS (PY_SSIZE_T_MAX / 32)

typedef struct Decoder Decoder;
typedef struct Batch Batch;

typedef struct {
    const char *octets;
    Py_ssize_t size;
} Span;

/* What one step of a splitter did. */
typedef enum {
    RAISED = -2, /* a Python exception is set: no memory, above all */
    BROKEN = -1, /* no message can be cut at `start`: the reference decoder knows the words for it */
    MORE = 0,    /* `need` octets from `start` on are needed before it is worth looking again */
    ON = 1,      /* a message was cut, or octets were skipped */
} Step;

/* What all decoders of one framing share; made once from the framing, which keeps it. */
typedef struct {
    PyObject_HEAD
    PyTypeObject *makes;                /* the type of its decoders */
    PyObject *framing;                  /* the Python value */
    Pool *pool;                         /* what handlers have let go, of all decoders of the interpreter */
    Step (*step)(Decoder *, Batch *);   /* NULL for RESP */
    Py_ssize_t least;                   /* with fewer octets than this nothing can be known of a message */
    Py_ssize_t max, max_sent;           /* max_message and max_sent; -1 without a bound */
    /* fixed */
    Py_ssize_t size;
    /* length: see Length in length.py for the words */
    Py_ssize_t width, offset, header, skip, smallest;
    long long plus;
    int little;
    PyObject *lead;
    /* decimal */
    Py_ssize_t digits;
    char colon;
    int counting; /* whether syslog writes counts */
    int has_comma;
    char comma;
    /* delimiters */
    PyObject *delimiters;               /* a tuple, which keeps the spans alive */
    Span *spans;
    Py_ssize_t count, longest;
    int keep, swallows, resync, strip_cr;
    unsigned char begins[256];          /* whether a delimiter begins with this octet; for several delimiters */
    /* resp */
    PyObject *scalars, *words, *push, *pairs, *members;
    PyTypeObject *simple;
    Py_ssize_t max_count, max_depth, max_memory;
    Py_ssize_t value, text; /* what a value, and an octet of an error's text, are charged */
    int three, inline_commands;
} Splitter;

enum {
    OURS = 1,        /* buf is a buffer of our own: its size is its room, and nobody else has seen it */
    GATHERING = 2,   /* and it is the message that is being gathered */
    FAILED = 4,      /* feed() raises from here on */
    TRUNCATED = 8,   /* ... what finish() raises */
    DISCARDING = 16, /* inside of a message that was too long: skipped up to its delimiter */
    SWALLOW_CR = 32, /* a CR that comes next is swallowed */
    SWALLOW_LF = 64,
};
#define SWALLOW (SWALLOW_CR | SWALLOW_LF)

/* No Python object that it holds can lead back to it, so the garbage collector need not know it. */
struct Decoder {
    PyObject_HEAD
    Splitter *splitter;
    PyObject *buf; /* bytes, or NULL while nothing is held */
    Py_ssize_t base, start, end;
    Py_ssize_t need; /* with fewer octets than this from `start` on there is no whole message */
    Py_ssize_t skipped;
    PyObject *head;               /* while GATHERING, and until settled: what came before `whole` */
    PyObject *whole;              /* the gathered message that the latest batch begins with */
    struct Unfinished *unfinished; /* resp: how far a message is decoded */
    Py_ssize_t values;             /* resp: what the values of the latest batch are charged */
    unsigned given;               /* messages of the latest feed */
    unsigned flags;
};

static inline const char *octets_at(Decoder *d, Py_ssize_t at) { return PyBytes_AS_STRING(d->buf) + at; }

static inline Py_ssize_t held(Decoder *d) { return d->end - d->start; }

static inline int gathering(Decoder *d) { return d->flags & GATHERING; }

/* Octets that no message was made of yet. */
static inline Py_ssize_t buffered(Decoder *d)
{
    return held(d) + (gathering(d) ? PyBytes_GET_SIZE(d->head) : 0);
}

static void drop_window(Decoder *d)
{
    Py_CLEAR(d->buf);
    d->base = d->start = d->end = 0;
    d->flags &= ~(unsigned)OURS;
}

/* Forget the gathered message of the latest batch: nobody will ask for its octets again. */
static inline void drop_whole(Decoder *d)
{
    if (d->whole != NULL) {
        Py_CLEAR(d->whole);
        Py_CLEAR(d->head);
    }
}

/* Make room for `extra` octets behind `end`, in a buffer of our own; whatever is before `start` goes. `most` is what
 * the window can ever need, should that be known. */
static int reserve(Decoder *d, Py_ssize_t extra, Py_ssize_t most)
{
    Py_ssize_t left = held(d), room;
    if (extra > PY_SSIZE_T_MAX / 2 - left) {
        PyErr_NoMemory();
        return -1;
    }
    if (d->flags & OURS && extra <= PyBytes_GET_SIZE(d->buf) - d->end)
        return 0;
    room = Py_MIN(Py_MAX(left + extra, 2 * left), Py_MAX(left + extra, most));
    if (d->flags & OURS && d->start == 0) {
        /* realloc moves the pages of a large buffer, not its octets; the bookkeeping of a small one is no dearer */
        if (_PyBytes_Resize(&d->buf, room) < 0) {
            drop_window(d);
            d->flags &= ~(unsigned)GATHERING;
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
    d->flags |= OURS;
    d->base = d->start = 0;
    d->end = left;
    return 0;
}

static int append(Decoder *d, const char *octets, Py_ssize_t size, Py_ssize_t most)
{
    if (reserve(d, size, most) < 0)
        return -1;
    memcpy(PyBytes_AS_STRING(d->buf) + d->end, octets, (size_t)size);
    COPIED(size);
    d->end += size;
    return 0;
}

/* A read becomes the window. */
static inline void adopt(Decoder *d, PyObject *data, Py_ssize_t start)
{
    Py_INCREF(data);
    Py_XSETREF(d->buf, data);
    d->flags &= ~(unsigned)OURS;
    d->base = d->start = start;
    d->end = PyBytes_GET_SIZE(data);
}

/* memcpy(3), but without a call for what many messages are: 16 to 64 octets. */
static inline void copy_octets(char *to, const char *from, Py_ssize_t size)
{
    if (size < 16 || size > 64) {
        memcpy(to, from, (size_t)size);
        return;
    }
    /* From both ends: what is in the middle may be copied twice. */
    for (Py_ssize_t at = 0; at < size - 16; at += 16)
        memcpy(to + at, from + at, 16);
    memcpy(to + size - 16, from + size - 16, 16);
}

/* Octets of the window as a message of its own; a read that is one message is that message. */
static inline PyObject *cut_out(Decoder *d, Py_ssize_t from, Py_ssize_t to)
{
    if (to - from == PyBytes_GET_SIZE(d->buf) && !(d->flags & OURS) && PyBytes_CheckExact(d->buf))
        return Py_NewRef(d->buf);
    COPIED(to - from);
    PyObject *again = pool_take(d->splitter->pool, to - from);
    if (again == NULL)
        return PyBytes_FromStringAndSize(octets_at(d, from), to - from);
    copy_octets(PyBytes_AS_STRING(again), octets_at(d, from), to - from);
    return again;
}

/* All octets not decoded yet, as bytes; with those of the latest batch before them, exactly as they came. */
static PyObject *all_octets(Decoder *d, int with_batch)
{
    Py_ssize_t from = with_batch ? d->base : d->start;
    Py_ssize_t before = gathering(d) || (with_batch && d->whole != NULL) ? PyBytes_GET_SIZE(d->head) : 0;
    Py_ssize_t middle = with_batch && d->whole != NULL ? PyBytes_GET_SIZE(d->whole) : 0;
    Py_ssize_t window = d->end - from;
    PyObject *all = PyBytes_FromStringAndSize(NULL, before + middle + window);
    if (all == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(all);
    if (before)
        memcpy(to, PyBytes_AS_STRING(d->head), (size_t)before);
    if (middle)
        memcpy(to + before, PyBytes_AS_STRING(d->whole), (size_t)middle);
    if (window)
        memcpy(to + before + middle, octets_at(d, from), (size_t)window);
    COPIED(before + middle + window);
    return all;
}

#endif
