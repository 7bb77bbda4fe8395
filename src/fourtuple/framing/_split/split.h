/* The splitters in C, for the common cases. The other cases, and every error text, exist only once: in the Python twin.
 *
 * A Splitter holds the options of one framing. Its decoder() makes the Decoder of one connection, which implements
 * Decoder of base.py. A message that is rare or invalid, or cut off by the end of file, is left to the framing's
 * reference decoder, with all octets from there on. It decodes until it holds no octets any more; then C goes on.
 *
 *     pool.h       messages whose memory is reused
 *     window.c     the octets that a decoder holds, and large messages
 *     steps.c      one step of each splitter
 *     resp.c       RESP, whose messages are trees
 *     decoder.c    the decoder
 *     encode.c     the encoder, for several messages at once
 *     splitter.c   the splitter: the options of a framing
 *     api.h        what C in other rooms may call
 *
 * The decoder's state, and the window: the octets that it holds.
 *
 *     buf
 *     0          base                start             end
 *     | delivered | the latest batch  | not decoded yet |
 *
 * - If no octets are left over, the next read itself is the window: nothing is copied until a message is cut out.
 * - Otherwise the window is a separate buffer that grows by doubling, so that each octet is copied a bounded number of
 *   times, however small the reads.
 * - A large message whose size is announced is gathered directly into its final object. The window then begins with the
 *   message's first octet, and the octets in front of it wait in `head`. `reserve` never allocates more than the
 *   message's size, nor more than twice the octets received.
 *
 * A build with FOURTUPLE_COUNT counts octets searched and copied: tests/framing proves by it that both are linear.
 */
#ifndef FOURTUPLE_SPLIT_H
#define FOURTUPLE_SPLIT_H

#include "framing/_split/api.h"

extern __attribute__((visibility("default"))) long long split_work[2];
#ifdef FOURTUPLE_COUNT
#define SEARCHED(octets) (split_work[0] += (octets))
#define COPIED(octets) (split_work[1] += (octets))
#else
#define SEARCHED(octets) ((void)0)
#define COPIED(octets) ((void)0)
#endif

/* From this size on a message is gathered in place; below it, one more copy is cheaper than the bookkeeping. */
#define LARGE (16 * 1024)
/* No message of this size fits in memory. Larger numbers, which might overflow, are left to Python. */
#define ENDLESS (PY_SSIZE_T_MAX / 32)

typedef struct Decoder Decoder;

/* The messages of one feed, and how many there may be. */
typedef struct {
    PyObject *messages;
    Py_ssize_t limit;
} Batch;

/* The result of one step of a splitter. */
typedef enum {
    RAISED = -2, /* a Python exception is set, most likely MemoryError */
    LEAVE = -1,  /* what follows is rare or invalid: the reference decoder goes on from `start` */
    MORE = 0,    /* `need` octets from `start` on are needed before it is worth looking again */
    ON = 1,      /* a message, or a value of one, was cut */
} Step;

/* The options of a splitter, by the names that Splitter() takes: numbers (0: not set) and objects. */
#define SPLITTER_NUMBERS(F)                                                                                            \
    F(max) F(max_sent) /* in octets; -1 without a bound, as max_memory */                                              \
    F(width) F(little) F(offset) F(plus) F(skip) /* a length: see Length in length.py for the words; without a width,  \
                                                    all messages have `plus` octets */                                 \
    F(colon) /* the octet that ends a length in decimal digits */                                                      \
    F(keep) F(strip_cr) /* a delimiter */                                                                              \
    F(three) F(max_count) F(max_depth) F(max_memory) /* RESP */                                                        \
    F(value) F(text) /* the charge of a value, and of an octet of an error's text */
#define SPLITTER_OBJECTS(F)                                                                                            \
    F(framing)                                                                                                         \
    F(nothing) /* b"" */                                                                                               \
    F(lead)                                                                                                            \
    F(delimiter) /* searched for */                                                                                    \
    F(tail) /* what is written behind a message */                                                                     \
    F(scalars) F(aggregates) /* dicts of functions that make values, by the first octet */                             \
    F(simple) /* the class of simple strings */

#define NUMBER_FIELD(name) Py_ssize_t name;
#define OBJECT_FIELD(name) PyObject *name;

/* Shared by all decoders of one framing; made once from the framing, which keeps it. */
typedef struct {
    PyObject_HEAD
    SPLITTER_OBJECTS(OBJECT_FIELD)
    SPLITTER_NUMBERS(NUMBER_FIELD)
    Step (*step)(Decoder *, Batch *);
    Py_ssize_t least;                 /* the fewest octets with which a step can begin */
    Py_ssize_t header, smallest;      /* length: the end of the length field, and the smallest message, or 0 */
} Splitter;

struct Decoder {
    PyObject_HEAD
    PyObject *reference; /* the decoder in Python, while it goes on; this one then holds no octets, or NULL. It is all
                            that the garbage collector sees: its error refers to us by the frames of its traceback. */
    Splitter *splitter;
    PyObject *buf; /* bytes, or NULL while nothing is held */
    Py_ssize_t base, start, end;
    Py_ssize_t need; /* with fewer octets than this from `start` on there is no whole message */
    PyObject *head;               /* while gathering, and until settle(): the octets in front of `whole` */
    PyObject *whole;              /* the gathered message with which the latest batch begins */
    struct Unfinished *unfinished; /* resp: the state of a message in progress */
    Py_ssize_t values;            /* resp: the charge of the latest batch's values */
    unsigned given;               /* the number of messages of the latest feed */
    bool ours;                    /* buf is a separate buffer: its size is its capacity, and it has no other owner */
    bool gathering;               /* buf is the message that is being gathered */
};

static inline const char *octets_at(Decoder *d, Py_ssize_t at) { return PyBytes_AS_STRING(d->buf) + at; }

static inline Py_ssize_t held(Decoder *d) { return d->end - d->start; }

/* The number of octets that are not decoded yet, of those that this decoder holds itself. */
static inline Py_ssize_t own(Decoder *d) { return held(d) + (d->gathering ? PyBytes_GET_SIZE(d->head) : 0); }

/* How many octets the unfinished message lacks, as far as it is known. */
static inline Py_ssize_t lacks(Decoder *d) { return d->need - own(d); }

/* Forget the latest batch. Its gathered message is released: the octets are not needed any more. */
static inline void end_batch(Decoder *d)
{
    d->given = 0;
    d->values = 0;
    if (d->whole != NULL) {
        Py_CLEAR(d->whole);
        Py_CLEAR(d->head);
    }
}

/* Make a read the window. */
static inline void adopt(Decoder *d, PyObject *data, Py_ssize_t start)
{
    Py_INCREF(data);
    Py_XSETREF(d->buf, data);
    d->ours = false;
    d->base = d->start = start;
    d->end = PyBytes_GET_SIZE(data);
}

/* memcpy(3), but without a call for a common size of messages: 16 to 64 octets. */
static inline void copy_octets(char *to, const char *from, Py_ssize_t size)
{
    if (size < 16 || size > 64) {
        memcpy(to, from, (size_t)size);
        return;
    }
    /* From both ends: octets between may be copied twice. */
    memcpy(to, from, 16);
    if (size > 32) {
        memcpy(to + 16, from + 16, 16);
        memcpy(to + size - 32, from + size - 32, 16);
    }
    memcpy(to + size - 16, from + size - 16, 16);
}

/* Octets of the window as a message; if the window is exactly one read and one message, that object itself. */
static inline PyObject *cut_out(Decoder *d, Py_ssize_t from, Py_ssize_t to)
{
    if (to - from == PyBytes_GET_SIZE(d->buf) && !d->ours && PyBytes_CheckExact(d->buf))
        return Py_NewRef(d->buf);
    COPIED(to - from);
    PyObject *again = pool_take(to - from);
    if (again == NULL)
        return PyBytes_FromStringAndSize(octets_at(d, from), to - from);
    copy_octets(PyBytes_AS_STRING(again), octets_at(d, from), to - from);
    return again;
}

/* Append a message to those of this feed. Steals `message`; if it is NULL, an exception is set. */
static inline Step deliver(Decoder *d, Batch *batch, PyObject *message)
{
    if (message == NULL)
        return RAISED;
    if (PyList_GET_SIZE(batch->messages) == 0 && d->start > d->base) /* perhaps all have the size of this one */
        ft_foresee(batch->messages, Py_MIN(held(d) / (d->start - d->base) + 1, batch->limit));
    return ft_append(batch->messages, message) < 0 ? RAISED : ON;
}

static inline Step more(Decoder *d, Py_ssize_t need)
{
    d->need = need;
    return MORE;
}

/* --- steps.c: cut the message at `start`, or return why not. A step is called with at least `need` octets. -------- */

Step split_fixed(Decoder *d, Batch *batch);
Step split_length(Decoder *d, Batch *batch);
Step split_decimal(Decoder *d, Batch *batch);
Step split_delimited(Decoder *d, Batch *batch);
Step split_syslog(Decoder *d, Batch *batch);
const char *split_find(Splitter *s, const char *from, const char *end);

/* --- resp.c ------------------------------------------------------------------------------------------------------- */

Step split_resp(Decoder *d, Batch *batch);
/* Where the decoder stands in a message: the arguments of RespDecoder._resume(). */
PyObject *split_position(Decoder *d);

/* --- decoder.c ---------------------------------------------------------------------------------------------------- */

PyObject *split_new_decoder(Splitter *s, PyObject *none);
/* Reset to a new decoder. */
void split_reset(Decoder *d);

/* --- window.c ----------------------------------------------------------------------------------------------------- */

void split_drop_window(Decoder *d);
/* Make room for `extra` octets after `end`, in a separate buffer; octets before `start` are dropped. */
int split_reserve(Decoder *d, Py_ssize_t extra);
/* All octets that are not decoded yet, as bytes; `with_batch` adds those of the latest batch in front, unchanged. */
PyObject *split_all_octets(Decoder *d, bool with_batch);

/* Whether the unfinished message is large, and its size known: those of one size, and those after a binary length. */
static inline bool is_large(Decoder *d)
{
    Splitter *s = d->splitter;
    return d->gathering || (d->need - s->skip >= LARGE && s->smallest && held(d) >= s->smallest);
}

/* Let the window begin with the large message itself, if it does not yet. */
int split_gather(Decoder *d);
/* Add a read to what is held; a large message that is complete then becomes `whole`. */
int split_append(Decoder *d, PyObject *data);

static inline int take_in(Decoder *d, PyObject *data)
{
    if (held(d) || d->gathering)
        return split_append(d, data);
    adopt(d, data, 0);
    return 0;
}

#endif
