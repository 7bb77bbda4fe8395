/* The splitters in C: what is usual. The rest, and every error's words, stand once, in the Python beside it.
 *
 * A Splitter is what one framing's options come to; its decoder() makes the Decoder of one connection, which keeps
 * the contract of Decoder in base.py. Where a message is broken, or the end of file comes too early, the decoder
 * hands the octets that it holds to the framing's reference decoder, and that raises.
 *
 *     pool.h       messages that are filled again
 *     window.c     the octets that a decoder holds
 *     steps.c      one step of each splitter
 *     gather.c     large messages
 *     resp.c       RESP, whose messages are trees
 *     decoder.c    the decoder
 *     encode.c     several messages to octets
 *     splitter.c   the splitter, of the options of a framing
 *     module.c     the module
 *     api.c        decoders for the turn in C, as api.h knows them
 *
 * The decoder's state, and the window: the octets that it holds.
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
#ifndef FOURTUPLE_SPLIT_H
#define FOURTUPLE_SPLIT_H

#include "compiled.h"
#include "framing/_split/api.h"

#ifdef FOURTUPLE_COUNT
extern long long split_searched, split_copied;
#define SEARCHED(octets) (split_searched += (octets))
#define COPIED(octets) (split_copied += (octets))
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

/* The options of a splitter, by the names that splitter() takes: numbers, where 0 says that there is none, and objects. */
#define SPLITTER_NUMBERS(F)                                                                                            \
    F(max) /* max_message; -1 without a bound, as max_memory */                                                        \
    F(size) /* fixed */                                                                                                \
    F(width) F(little) F(offset) F(plus) F(skip) /* a length: see Length in length.py for the words */                 \
    F(digits) /* a length in decimal digits */                                                                         \
    F(counting) /* whether syslog writes counts */                                                                     \
    F(keep) F(swallows) F(resync) F(strip_cr) /* delimiters */                                                         \
    F(three) F(inline_commands) F(max_count) F(max_depth) F(max_memory) /* RESP */                                     \
    F(value) F(text) /* what a value, and an octet of an error's text, are charged */
#define SPLITTER_OBJECTS(F)                                                                                            \
    F(framing)                                                                                                         \
    F(lead)                                                                                                            \
    F(colon) F(comma) /* behind digits; the comma is empty, or ends a message */                                       \
    F(delimiters) /* a tuple, which keeps the spans alive */                                                           \
    F(scalars) F(words) /* what make the value that begins with an octet of text, and an inline command */             \
    F(push) F(pairs) F(members) F(simple) /* classes of values */

#define NUMBER_FIELD(name) Py_ssize_t name;
#define OBJECT_FIELD(name) PyObject *name;

/* What all decoders of one framing share; made once from the framing, which keeps it. */
typedef struct {
    PyObject_HEAD
    SPLITTER_OBJECTS(OBJECT_FIELD)
    SPLITTER_NUMBERS(NUMBER_FIELD)
    PyTypeObject *makes;              /* the type of its decoders */
    Pool *pool;                       /* what handlers have let go, of all decoders of the interpreter */
    Step (*step)(Decoder *, Batch *); /* NULL for RESP */
    Py_ssize_t least;                 /* with fewer octets than this nothing can be known of a message */
    Py_ssize_t max_sent;              /* -1 without a bound */
    Py_ssize_t header, smallest;      /* length: its end, and what a message has at the least */
    char colon_is, comma_is;
    bool has_comma;
    Span *spans; /* the delimiters */
    Py_ssize_t count, longest;
    unsigned char begins[256]; /* whether a delimiter begins with this octet; for several delimiters */
} Splitter;

enum {
    OURS = 1,        /* buf is a buffer of our own: its size is its room, and nobody else has seen it */
    GATHERING = 2,   /* and it is the message that is being gathered */
    FAILED = 4,      /* split_feed() raises from here on */
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

/* Forget the gathered message of the latest batch: nobody will ask for its octets again. */
static inline void drop_whole(Decoder *d)
{
    if (d->whole != NULL) {
        Py_CLEAR(d->whole);
        Py_CLEAR(d->head);
    }
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

/* More aggregates in each other than this are left to the decoder in Python. */
#define DEEPEST 32

typedef struct {
    char kind;
    Py_ssize_t wanted, have;
    PyObject *values;   /* a list; NULL where values are counted, not made */
    Py_ssize_t charged; /* what the values before it were */
} Level;

/* A message in progress. `at` is how far it is decoded, from `start` on; `need` says how far its line is searched, or
 * with `bulk`, the kind of a string whose length is known, where that ends. */
typedef struct Unfinished {
    Py_ssize_t at;
    Py_ssize_t charged; /* what its values take in memory */
    int counting;       /* whether values are counted, not made */
    char bulk;
    int depth;
    Level levels[];
} Unfinished;

static inline Py_ssize_t gathered_size(Decoder *d)
{
    return d->need - PyBytes_GET_SIZE(d->head) - d->splitter->has_comma;
}

/* --- window.c ------------------------------------------------------------------------------------------------------- */

void split_drop_window(Decoder *d);
int split_reserve(Decoder *d, Py_ssize_t extra, Py_ssize_t most);
int split_append(Decoder *d, const char *octets, Py_ssize_t size, Py_ssize_t most);
PyObject *split_all_octets(Decoder *d, int with_batch);

/* --- steps.c: cut the message at `start`, or say why not --------------------------------------------------------------- */

Step split_fixed(Decoder *d, Batch *batch);
Step split_length(Decoder *d, Batch *batch);
Step split_decimal(Decoder *d, Batch *batch);
Step split_delimited(Decoder *d, Batch *batch);
Step split_syslog(Decoder *d, Batch *batch);
const char *split_find(Splitter *s, const char *from, const char *end, Py_ssize_t *size);
void split_swallow_next(Decoder *d);
void split_discard(Decoder *d, Py_ssize_t to, int ended);

/* --- gather.c: large messages -------------------------------------------------------------------------------------------- */

Py_ssize_t split_head_of_large(Decoder *d);
int split_begin_gathering(Decoder *d, Py_ssize_t head, Py_ssize_t coming);
void split_gathered(Decoder *d);
Step split_gather(Decoder *d, PyObject *data, Batch *batch);

/* --- resp.c ---------------------------------------------------------------------------------------------------------------- */

Step split_resp(Decoder *d, Batch *batch, Py_ssize_t limit);
void split_drop_unfinished(Decoder *d);

/* --- decoder.c ------------------------------------------------------------------------------------------------------------- */

extern PyType_Spec split_decoder_spec;
PyObject *split_new_decoder(Splitter *s);
PyObject *split_feed(Decoder *d, PyObject *data, Py_ssize_t limit);
int split_settle(PyObject *decoder);

/* --- encode.c, splitter.c, api.c --------------------------------------------------------------------------------------------- */

PyObject *split_encode_one(PyObject *splitter, PyObject *message);
PyObject *split_encode_many(PyObject *splitter, PyObject *messages);
extern PyType_Spec split_splitter_spec;
/* The splitter of a framing, of what splitter() takes. */
Splitter *split_new_splitter(PyTypeObject *type, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
extern const SplitApi split_api;

static inline int counts(Decoder *d)
{
    char first = *octets_at(d, d->start);
    return first >= '1' && first <= '9';
}

/* Take the octets of one read into the window. */
static inline int take_in(Decoder *d, PyObject *data, Py_ssize_t size)
{
    if (held(d) == 0) {
        adopt(d, data, 0);
        return 0;
    }
    Py_ssize_t head = split_head_of_large(d);
    if (head >= 0)
        return split_begin_gathering(d, head, size);
    return split_append(d, PyBytes_AS_STRING(data), size, PY_SSIZE_T_MAX);
}

#endif
