/* The usual turn of a connection, in C: recv, split, call the handler, encode, send.
 *
 * It works on the same Python objects as its twins in channel.py, handlers/inline.py and connection.py, whose fields are
 * those of its own base types, and does only what is usual: readable, no layer, open in both directions, nothing waiting
 * in inbox or outbox. Whatever else it meets (an error, a handler that closes, a send that is cut short) it hands over to
 * the Python that stands beside it, with every object in the state that Python would have left.
 *
 *     serve.c         many connections in one go, in stages: receive, let handlers run, send
 *     in.c            recv(2), the decoder, the inbox
 *     replies.c       plain handlers, called for the messages of the inbox
 *     out.c           the encoder, the outbox, send(2)
 *     eager_future.c  what a task waits for
 *     receive.c       what a conversation awaits: the next message
 *     talk.c          what a conversation sends, and how the turn resumes it
 *     share.c         the share of the loop of one connection
 *     engine.c        the base types, and what is known of Python
 *
 * The system calls do not wait, and keep the GIL on purpose: to release it beside one thread that computes cost
 * 80 % of the throughput (whoever gives it up gets it back 5 ms later).
 */
#ifndef FOURTUPLE_TURN_H
#define FOURTUPLE_TURN_H

#include "compiled.h"
#include "fields.h"
#include "framing/_split/api.h"
#include "stream/_fields/stream.h"

/* --- base types: the twins are in engine/fields.py --------------------------------------------------------------------- */

#define CHANNEL_FIELDS(F)                                                                                              \
    F(consumer, "consumer") F(crowded, "_crowded") F(detached, "detached") F(dirty, "_dirty") F(due, "due")            \
    F(engine, "engine") F(fd, "fd") F(id, "id") F(mask, "mask") F(on_end, "on_end")               \
    F(opened, "opened") F(socket, "_socket") F(stream, "stream")
#define ENGINE_FIELDS(F)                                                                                               \
    F(share, "share") F(thread, "thread")
/* Of whoever consumes a stream: `handle` is a plain function of a message, `connection` what another handler holds. */
#define CONSUMER_FIELDS(F)                                                                                             \
    F(channel, "channel") F(connection, "_connection") F(handle, "_handle") F(service, "service") F(stream, "stream")
#define CONNECTION_FIELDS(F)                                                                                           \
    F(channel, "_channel") F(receiver, "_receiver") F(stream, "_stream")

FT_FIELDS(ChannelFields, CHANNEL_FIELDS)
FT_FIELDS(EngineFields, ENGINE_FIELDS)
FT_FIELDS(ConsumerFields, CONSUMER_FIELDS)
FT_FIELDS(ConnectionFields, CONNECTION_FIELDS)

#define CHANNEL(object) ((ChannelFields *)(object))
#define ENGINE(object) ((EngineFields *)(object))
#define CONSUMER(object) ((ConsumerFields *)(object))
#define CONNECTION(object) ((ConnectionFields *)(object))

/* --- engine.c: what is known of Python ------------------------------------------------------------------------------------ */

/* Classes and constants, by the names that know() takes; a class has the base type beside it, or none. */
#define TURN_KNOWN(K)                                                                                                  \
    K(Channel, &ChannelFields_type)                                                                                    \
    K(DoomedChannel, &ChannelFields_type) /* what a channel becomes that the sweep is to end */                        \
    K(OVERDUE, NULL)                      /* when that is due: before any moment */                                    \
    K(Stream, &StreamFields_type)                                                                                      \
    K(Engine, &EngineFields_type)                                                                                      \
    K(PLAIN, NULL)                        /* Path.PLAIN, and the next Path.SPECIAL */                                  \
    K(SPECIAL, NULL)                                                                                                   \
    K(OPEN, NULL) /* Half.OPEN */                                                                                      \
    K(MessageError, NULL)                                                                                              \
    K(InlineReplies, &ConsumerFields_type)                                                                             \
    K(ReplyAndClose, NULL)                                                                                             \
    K(Unmapped, NULL)   /* in the place of a message, and for Python to decide on */                                   \
    K(Unsendable, NULL) /* in the place of pending replies, and for Python to raise */                                 \
    K(AsyncConversation, &ConsumerFields_type)                                                                         \
    K(Connection, &ConnectionFields_type)                                                                              \
    K(NOT_YET, NULL) /* in the place of a message that has not come */                                                 \
    K(EndOfFile, NULL)                                                                                                 \
    K(ConnectionEnded, NULL)                                                                                           \
    K(current_task, NULL) /* asyncio's, as the next */                                                                 \
    K(CancelledError, NULL)

#define FT_KNOWN(name, base) PyObject *name;
extern struct turn_known {
    TURN_KNOWN(FT_KNOWN)
} turn_known;

typedef struct {
    const char *name;
    PyObject **place;
    PyTypeObject **base;
} Known;

/* Take what is given by name: 1; 0 where there is no such name, -1 with an exception. */
int turn_take_known(const Known *known, PyObject *name, PyObject *value);
extern const Known turn_known_names[];

/* The names of attributes and methods. */
#define TURN_NAMES(N)                                                                                                  \
    N(_behind_others) N(_broken) N(_check_sole_receiver) N(_consume) N(_encoder) N(_failed)                \
    N(_message_error) N(_next) N(_others_first) N(_slow) N(_took) N(_waiter) N(_write_failed) N(buffered)              \
    N(call_soon) N(carry_on) N(commit) N(consumed) N(context) N(encode) N(encode_many) N(ends_stream) N(feed)          \
    N(flush_soon) N(interrupted) N(join) N(now) N(on_ready) N(revisit) N(say) N(settle) N(undersent) N(unwell) N(write)

#define FT_NAME(name) PyObject *name;
#define FT_TEXT(name) #name,
extern struct turn_str {
    TURN_NAMES(FT_NAME)
} str;

/* Intern a struct of names. */
int turn_intern(void *names, const char *const *texts, size_t count);

extern const SplitApi *split; /* the splitters in C, where they are built */
extern PyObject *turn_no_octets, *turn_zero; /* b"", 0 */

int turn_start(PyObject *module);

/* Whether an object's class is exactly this one, should that be known yet. */
static inline bool is_a(PyObject *object, PyObject *type)
{
    return object && (PyObject *)Py_TYPE(object) == type;
}

/* --- what a connection is at the moment ------------------------------------------------------------------------------------ */

/* Whether a stream is on the plain path: one fact, which Python keeps where the state changes (stream/state.py). */
static inline bool is_plain(PyObject *stream)
{
    return STREAM(stream)->path == turn_known.PLAIN;
}

/* Whether a channel has its socket and serves this stream, which is plain. */
static inline bool is_served(PyObject *channel, PyObject *stream)
{
    return CHANNEL(channel)->stream == stream && is_a(stream, turn_known.Stream) && is_plain(stream) &&
           CHANNEL(channel)->socket != Py_None && CHANNEL(channel)->detached == Py_False;
}

/* The octets that wait in the outbox. */
static inline Py_ssize_t outbox_size(PyObject *stream)
{
    return PyLong_AsSsize_t(OUT(stream)->outbox_size);
}

/* Whether nothing waits to be written. */
static inline bool is_written(PyObject *stream)
{
    PyObject *pending = OUT(stream)->pending;
    return PyList_CheckExact(pending) && !PyList_GET_SIZE(pending) && !outbox_size(stream);
}

/* Whether the decoder is one of C, which is asked without going by way of Python. */
static inline bool splits(PyObject *decoder)
{
    return split && Py_IS_TYPE(decoder, split->decoder);
}

static inline bool replies(PyObject *consumer)
{
    return is_a(consumer, turn_known.InlineReplies);
}

static inline bool talks(PyObject *consumer)
{
    return is_a(consumer, turn_known.AsyncConversation) && is_a(CONSUMER(consumer)->connection, turn_known.Connection);
}

/* --- share.c ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *clock; /* NULL: that of time.monotonic() */
    double seconds, until;
    double rough; /* by how much the clock may be slow */
    Py_ssize_t messages, left, gap, count;
    char over;
} Share;

extern PyTypeObject turn_share_type;

void turn_begin_share(Share *share, double now);
/* With nothing left: 1 where the share is spent, 0 where there is more of it, -1 with an exception. */
int turn_look_at_share(Share *share);

/* The share of the loop that serves a channel; NULL where somebody else's engine does. */
static inline Share *share_of(PyObject *channel)
{
    PyObject *engine = CHANNEL(channel)->engine;
    PyObject *share = engine && is_a(engine, turn_known.Engine) ? ENGINE(engine)->share : NULL;
    return share && Py_IS_TYPE(share, &turn_share_type) ? (Share *)share : NULL;
}

/* Count a message: whether the share is spent. -1 with an exception. */
static inline int spend(Share *share)
{
    return --share->left <= 0 ? turn_look_at_share(share) : 0;
}

/* --- in.c --------------------------------------------------------------------------------------------------------------------- */

/* A read this small is copied out of the spare buffer; a larger one takes the buffer itself. */
#define SMALL 4096

/* The Limits seen last, read: all connections of a server share one object. */
typedef struct {
    PyObject *limits, *max_batch_object;
    Py_ssize_t read_size, max_batch, high_water, max_outbox;
} KnownLimits;

extern KnownLimits known_limits;
int turn_know_limits(PyObject *limits);

static inline int know_limits_of(PyObject *stream)
{
    return known_limits.limits == STREAM(stream)->limits ? 0 : turn_know_limits(STREAM(stream)->limits);
}

/* Whether what is held may be whole messages, behind a full batch: then the path is SPECIAL, and Python cuts them before
 * another read. -1 with an exception. */
int turn_note_uncut(PyObject *stream);
/* Take what one read brings to the decoder: *messages as feed() returns them; NULL where it raised or, without an
 * exception, where the decoder holds the octets and feed() of none is to cut them `later`. Returns the number of octets;
 * 0 for the end of file, -1 for an error of the socket, with its exception or with none: there was nothing, or errno is
 * ECONNRESET, of which most often nobody has to be told by an exception. */
ssize_t turn_read(int fd, PyObject *decoder, bool later, PyObject **messages);
/* Put what was read into the inbox. Returns the number of messages, -1 with an exception. Steals `messages`. */
Py_ssize_t turn_fill_inbox(PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now);

/* --- replies.c ---------------------------------------------------------------------------------------------------------------- */

/* Call the handler for every message of the inbox. `*to_send` says whether what it replied is to be sent now. */
int turn_reply(PyObject *channel, PyObject *stream, PyObject *runner, bool *to_send);
PyObject *turn_run(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
extern const char turn_run_doc[];

/* --- out.c -------------------------------------------------------------------------------------------------------------------- */

/* The splitter in C that encodes for a framing, borrowed; NULL where it has none. */
PyObject *turn_encoder_of(PyObject *framing);
/* The octets of one message that is bytes; NULL without an exception where Python is to encode it. */
PyObject *turn_encode_one(PyObject *framing, PyObject *message);
/* Put octets behind those in the outbox. Raises OutboxFull. */
int turn_into_outbox(PyObject *stream, PyObject *octets);
/* Encode several replies while they are in the nearest cache, which those of other connections would push them out of. */
int turn_encode_early(PyObject *stream);
/* Encode a reply that is not plain octets at once, as Python does: it may change after the handler gave it. */
int turn_take_value(PyObject *channel, PyObject *stream, PyObject *value);
/* Send what a batch came to: the outbox, where something stands there, and the pending replies behind it. */
int turn_send_batch(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now);
PyObject *turn_send(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
extern const char turn_send_doc[];

/* --- eager_future.c ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *loop;      /* the task looks at it: whether it is its own */
    PyObject *callback;  /* the wake-up of the task that waits, or NULL */
    PyObject *context;   /* and where to call it */
    PyObject *cancelled; /* the CancelledError that the task is to go on with, or NULL */
    char blocking;       /* as asyncio has it: yielded by await */
    char waiting;        /* whether a task waits, or was woken and has not gone on yet */
} EagerFuture;

extern PyTypeObject turn_eager_future_type;

/* Let the task go on: in the loop's next iteration, or at once where no other task is running. */
int turn_wake(EagerFuture *future, bool at_once);
/* The method send() of what is awaited, as a coroutine's: nothing can be sent into it. */
PyObject *turn_send_none(PyObject *awaited, PyObject *nothing);
/* Raise what throw(type[, value[, traceback]]) was given, as generators do. */
PyObject *turn_raise_thrown(PyObject *const *arguments, Py_ssize_t count);

/* Begin to wait: what the task is given. */
static inline PyObject *begin_waiting(EagerFuture *future)
{
    future->waiting = future->blocking = 1;
    return Py_NewRef((PyObject *)future);
}

/* The EagerFuture that a connection's receiver waits for, which it makes at its first wait; NULL before. */
static inline EagerFuture *receiver_of(PyObject *connection)
{
    PyObject *receiver = CONNECTION(connection)->receiver;
    return receiver && Py_IS_TYPE(receiver, &turn_eager_future_type) ? (EagerFuture *)receiver : NULL;
}

/* Whether its task waits for a message. */
static inline bool listens(PyObject *connection)
{
    EagerFuture *receiver = receiver_of(connection);
    return receiver && receiver->waiting;
}

/* --- receive.c ---------------------------------------------------------------------------------------------------------------- */

extern PyTypeObject turn_reception_type, turn_messages_type;

/* Whether this is the thread of the channel's loop, as far as can be told at once: Engine.check_thread() can tell more. */
bool turn_in_its_thread(PyObject *channel);
/* What receive() returns, or a step of an iteration; what `async for` goes over. NULL without an exception where the
 * connection lacks what is looked for without asking: a subclass may begin otherwise, and the garbage collector empties
 * those that are its. */
PyObject *turn_reception(PyObject *connection, bool iterates);
PyObject *turn_messages(PyObject *connection);

/* --- talk.c ------------------------------------------------------------------------------------------------------------------- */

extern PyTypeObject turn_done_type;

/* Let the conversation go on, should it wait for a message. What it says is for turn_settle_talk() to send. */
int turn_talk(PyObject *channel, PyObject *runner);
/* Bring socket and stream into line behind a conversation, as Channel.settle() does. */
int turn_settle_talk(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now);
PyObject *turn_replace_twins(PyObject *module, PyObject *connection);
extern const char turn_replace_twins_doc[];

/* --- serve.c ------------------------------------------------------------------------------------------------------------------ */

/* The peer has sent FIN or RST. Returns 1 where the connection has ended for it, 0 where Python is to do what is due,
 * -1 with an exception. Whoever made the connection sets it. */
typedef int (*PeerEnded)(PyObject *channel, PyObject *stream, bool reset, PyObject *now);
extern PeerEnded turn_peer_ended;

PyObject *turn_poll(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *turn_serve_many(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
extern const char turn_poll_doc[], turn_serve_many_doc[];

#endif
