/* The fast path of a turn, in C: recv, split, call the handler, encode, send.
 *
 * It works on the same Python objects as its twins in channel.py, handlers/inline.py and connection.py; their fields
 * are those of base types defined here. It handles only the fast path: the socket is readable, there is no layer or one
 * of TLS whose handshake is done, both directions are open, and nothing waits in inbox or outbox. Every other case (an
 * error, a handler that closes, a partial send) is left to its twin in Python, with each object in the state in which
 * Python would have left it.
 *
 *     serve.c         several connections at a time, in stages: receive, run handlers, send
 *     in.c            recv(2), the decoder, the inbox
 *     replies.c       handlers of replies, called for the messages of the inbox; coroutines: their first step
 *     out.c           the encoder, the outbox, send(2)
 *     layered.c       an established layer of TLS
 *     eager_future.c  the future that a receiving task awaits
 *     receive.c       receiving in a conversation
 *     talk.c          sending in a conversation, and resuming it in a turn
 *     share.c         the share of the loop's time of one connection
 *     engine.c        the base types, and the Python classes that C knows
 *
 * The system calls do not block, and they keep the GIL on purpose. Releasing it, with one other thread that computes,
 * cost 80 % of the throughput: a thread that releases the GIL gets it back after the switch interval, 5 ms
 * (sys.setswitchinterval()). recv(2) and send(2) are called by syscall(2): no thread is cancelled here (pthreads(7)), and
 * in a process with several threads glibc spends two atomic instructions on it in each call.
 */
#ifndef FOURTUPLE_TURN_H
#define FOURTUPLE_TURN_H

#include "compiled.h"
#include "fields.h"
#include "framing/_split/api.h"
#include "stream/_fields/stream.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- base types: the twins are in engine/fields.py ---------------------------------------------------------------- */

#define CHANNEL_FIELDS(F, T)                                                                                           \
    F(T, consumer) F(T, _crowded) F(T, detached) F(T, _dirty) F(T, due) F(T, engine) F(T, fd) F(T, id) F(T, mask)      \
    F(T, on_end) F(T, opened) F(T, _socket) F(T, stream)
#define ENGINE_FIELDS(F, T)                                                                                            \
    F(T, now) F(T, share) F(T, thread)
/* A consumer: `handle` is the function of a reply service, None while it is under way. */
#define CONSUMER_FIELDS(F, T)                                                                                          \
    F(T, channel) F(T, _connection) F(T, _handle) F(T, host) F(T, service) F(T, stream)
#define CONNECTION_FIELDS(F, T)                                                                                        \
    F(T, _channel) F(T, _receiver) F(T, _stream)
#define EAGER_FUTURE_FIELDS(F, T)                                                                                      \
    F(T, _asyncio_future_blocking) F(T, _callback) F(T, _cancelled) F(T, _context) F(T, _loop) F(T, waiting)
#define SPARES_FIELDS(F, T)                                                                                            \
    F(T, context) F(T, loop) F(T, parked) F(T, task)

FT_FIELDS(ChannelFields, CHANNEL_FIELDS)
FT_FIELDS(EngineFields, ENGINE_FIELDS)
FT_FIELDS(ConsumerFields, CONSUMER_FIELDS)
FT_FIELDS(ConnectionFields, CONNECTION_FIELDS)
FT_FIELDS(EagerFutureFields, EAGER_FUTURE_FIELDS)
FT_FIELDS(SparesFields, SPARES_FIELDS)

#define CHANNEL(object) ((ChannelFields *)(object))
#define ENGINE(object) ((EngineFields *)(object))
#define CONSUMER(object) ((ConsumerFields *)(object))
#define CONNECTION(object) ((ConnectionFields *)(object))
#define FUTURE(object) ((EagerFutureFields *)(object))
#define SPARES(object) ((SparesFields *)(object))

/* --- engine.c: the Python classes and names that C knows ---------------------------------------------------------- */

/* Classes and constants, by the names that know() takes; beside a class its base type, or NULL if it has none. */
#define TURN_KNOWN(K)                                                                                                  \
    K(Channel, &ChannelFields_type)                                                                                    \
    K(Stream, &StreamFields_type)                                                                                      \
    K(Engine, &EngineFields_type)                                                                                      \
    K(PLAIN, NULL)                        /* Path.PLAIN; the next lines are Path.LAYERED, Path.SPECIAL */              \
    K(LAYERED, NULL)                                                                                                   \
    K(SPECIAL, NULL)                                                                                                   \
    K(OPEN, NULL) /* Half.OPEN */                                                                                      \
    K(TlsLayer, &LayerFields_type)                                                                                     \
    K(sizes_of, NULL) /* a function: it returns these sizes of Limits, as a tuple */                                    \
    K(MessageError, NULL)                                                                                              \
    K(InlineReplies, &ConsumerFields_type)                                                                             \
    K(InlineGenerators, &ConsumerFields_type)                                                                          \
    K(InlineBatches, &ConsumerFields_type)                                                                             \
    K(EagerReplies, &ConsumerFields_type)                                                                              \
    K(ReplyAndClose, NULL)                                                                                             \
    K(Unmapped, NULL)   /* replaces a message; Python decides what happens */                                          \
    K(Unsendable, NULL) /* replaces pending replies; Python raises its error */                                        \
    K(AsyncConversation, &ConsumerFields_type)                                                                         \
    K(Connection, &ConnectionFields_type)                                                                              \
    K(NOT_YET, NULL) /* returned instead of a message that has not come */                                             \
    K(EagerFuture, &EagerFutureFields_type)                                                                            \
    K(current_task, NULL)  /* asyncio's; the next two, too */                                                          \
    K(enter_task, NULL)                                                                                                \
    K(leave_task, NULL)                                                                                                \
    K(raise_thrown, NULL)  /* a function: it raises the arguments of throw(), as generators do */

#define FT_KNOWN(name, base) PyObject *name;
extern struct turn_known {
    TURN_KNOWN(FT_KNOWN)
} turn_known;

/* The names of attributes and methods. */
#define TURN_NAMES(N)                                                                                                  \
    N(__anext__) N(_behind_others) N(_broken) N(_check_sole_receiver) N(_consume) N(_encoder) N(_failed)               \
    N(_go_on_with) N(_message_error) N(_next) N(_next_iterated) N(_others_first) N(_took) N(_twin_receive)             \
    N(_twin_send) N(_waiter) N(_write_failed) N(buffered) N(carry_on) N(commit) N(consumed) N(encode) N(encode_many)   \
    N(ends_stream) N(enter) N(feed) N(flush_soon) N(interrupted) N(join) N(leave) N(on_closed) N(on_ready) N(put)      \
    N(read) N(received) N(replace) N(revisit) N(settle) N(spares) N(through) N(update) N(wake) N(write)

#define FT_NAME(name) PyObject *name;
#define FT_TEXT(name) #name,
extern struct turn_str {
    TURN_NAMES(FT_NAME)
} str;

extern PyObject *turn_no_octets, *turn_zero; /* b"", 0 */

int turn_start(PyObject *module);

/* Whether an object's class is exactly this one; false while the class is not known yet. */
static inline bool is_a(PyObject *object, PyObject *type)
{
    return object && (PyObject *)Py_TYPE(object) == type;
}

/* --- the current state of a connection ---------------------------------------------------------------------------- */

/* Whether the octets of a stream pass an established layer of TLS, and none wait in it. */
static inline bool is_layered(PyObject *stream)
{
    return STREAM(stream)->path == turn_known.LAYERED && is_a(STREAM(stream)->layer, turn_known.TlsLayer) &&
           LAYER(stream)->holding == turn_zero;
}

/* Whether a stream's path is a fast one: one fact, which Python updates when the state changes (stream/state.py). */
static inline bool is_fast(PyObject *stream)
{
    return STREAM(stream)->path == turn_known.PLAIN || is_layered(stream);
}

/* Whether a channel has its socket and serves this stream, and the stream's path is a fast one. */
static inline bool is_served(PyObject *channel, PyObject *stream)
{
    return CHANNEL(channel)->stream == stream && is_a(stream, turn_known.Stream) && is_fast(stream) &&
           CHANNEL(channel)->_socket != Py_None && CHANNEL(channel)->detached == Py_False;
}

/* The number of octets in the outbox. */
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

/* Whether the decoder is implemented in C, so that it can be called without going through Python. */
static inline bool splits(PyObject *decoder)
{
    return Py_IS_TYPE(decoder, Decoder_type);
}

static inline bool replies_plainly(PyObject *consumer)
{
    return is_a(consumer, turn_known.InlineReplies);
}

/* Whether a consumer replies to all messages of a batch by one call. */
static inline bool replies_to_batches(PyObject *consumer)
{
    return is_a(consumer, turn_known.InlineBatches);
}

/* Whether a consumer replies to messages: by a function, a generator or a coroutine. */
static inline bool is_replying(PyObject *consumer)
{
    return replies_plainly(consumer) || is_a(consumer, turn_known.EagerReplies) ||
           is_a(consumer, turn_known.InlineGenerators) || replies_to_batches(consumer);
}

/* Whether it may take a message now: no coroutine waits, and no generator has more replies. */
static inline bool replies(PyObject *consumer)
{
    return is_replying(consumer) && CONSUMER(consumer)->_handle != Py_None;
}

static inline bool talks(PyObject *consumer)
{
    return is_a(consumer, turn_known.AsyncConversation) && is_a(CONSUMER(consumer)->_connection, turn_known.Connection);
}

/* --- share.c ------------------------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *clock; /* NULL: the clock of time.monotonic() */
    double seconds, began, until;
    double careful_until; /* shares that begin before are careful */
    Py_ssize_t messages, left, gap, count;
    char over, careful; /* careful: the clock is read after each message */
} Share;

FT_DECLARE(Share)

void turn_begin_share(Share *share, double now, double seconds);
/* Read the clock: 1 if the share is spent, 0 if there is more of it, -1 with an exception. */
int turn_look_at_share(Share *share);

/* The share of the engine that serves a channel; NULL if that is not exactly an Engine with a Share of C. */
static inline Share *share_of(PyObject *channel)
{
    PyObject *engine = CHANNEL(channel)->engine;
    PyObject *share = engine && is_a(engine, turn_known.Engine) ? ENGINE(engine)->share : NULL;
    return share && Py_IS_TYPE(share, Share_type) ? (Share *)share : NULL;
}

/* The same if this is the thread of the channel's loop; else NULL, and Engine.check_thread() decides. */
Share *turn_share_here(PyObject *channel);

/* Count a message; return whether the share is spent. -1 with an exception. */
static inline int spend(Share *share)
{
    return --share->left <= 0 ? turn_look_at_share(share) : 0;
}

/* --- in.c --------------------------------------------------------------------------------------------------------- */

/* A read of at most this size is copied out of the spare buffer; a larger one takes over the buffer itself. */
#define SMALL 4096

/* The values of the Limits used last: all connections of a server share one Limits object. */
typedef struct {
    PyObject *limits, *sizes; /* sizes: a tuple of the numbers */
    Py_ssize_t read_size, max_batch, high_water;
} KnownLimits;

extern KnownLimits known_limits;
int turn_know_limits(PyObject *limits);

static inline int know_limits_of(PyObject *stream)
{
    return known_limits.limits == STREAM(stream)->limits ? 0 : turn_know_limits(STREAM(stream)->limits);
}

/* If the held octets may be whole messages after a full batch, set the path to SPECIAL: Python then decodes them before
 * another read. -1 with an exception. */
int turn_note_uncut(PyObject *stream);
/* Read once, count the octets, and feed the decoder. *messages is what feed() returns. It is NULL if feed() raised or,
 * without an exception, if `later` is set and the decoder only holds the octets: a feed() of no octets decodes them
 * then. It is None if Python has decoded the octets, because of the stream's layer. Returns the number of octets, 0 for
 * the end of file, or -1: with an exception, or with the errno of recv(2). */
ssize_t turn_read(int fd, PyObject *stream, bool later, PyObject *now, PyObject **messages);
/* Put messages into the inbox. Returns the number of messages, -1 with an exception. Steals `messages`. */
Py_ssize_t turn_fill_inbox(PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now);

/* --- replies.c ---------------------------------------------------------------------------------------------------- */

/* The handler has raised the exception that is set: the runner takes it, and the channel goes on with what is left. */
int turn_handler_failed(PyObject *channel, PyObject *runner);
/* Call the handler for every message of the inbox. `*to_send` tells whether its replies have to be sent now. */
int turn_reply(PyObject *channel, PyObject *stream, PyObject *runner, bool *to_send);

/* --- out.c -------------------------------------------------------------------------------------------------------- */

/* The splitter in C that encodes for a framing, borrowed; NULL if it has none. */
PyObject *turn_encoder_of(PyObject *framing);
/* Append the octets of replies to the outbox, however full it is. */
int turn_into_outbox(PyObject *stream, PyObject *octets);
/* The same for some octets for which there is room, on a connection without TLS. */
int turn_append_to_outbox(PyObject *stream, PyObject *octets);
/* Encode several replies now, while they are in the processor's nearest cache; later, other connections have evicted
 * them. */
int turn_encode_early(PyObject *stream);
/* Encode a reply that is not bytes at once, as Python does: the object may change after the handler has returned it. */
int turn_take_value(PyObject *channel, PyObject *stream, PyObject *value);
/* Send the result of a batch: the outbox, if it is not empty, and the pending replies after it. */
int turn_send_batch(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now);
PyObject *turn_send(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* --- layered.c ---------------------------------------------------------------------------------------------------- */

/* Pass octets of the wire through the layer; return those of the conversation, or None if Python has taken them. */
PyObject *turn_decrypt(PyObject *stream, PyObject *octets, PyObject *now);
/* Pass octets of the conversation through the layer; return those to send now. The layer may fail: then the path is
 * SPECIAL. */
PyObject *turn_encrypt(PyObject *stream, PyObject *octets);

/* --- eager_future.c ----------------------------------------------------------------------------------------------- */

/* Whether a task of the loop is running; -1 with an exception. */
int turn_within_task(PyObject *loop);
/* Resume the task: at once, if no other task is running, else in the loop's next iteration. */
int turn_wake(PyObject *future);

/* Begin to wait; return the object that await yields to the task. */
static inline PyObject *begin_waiting(PyObject *future)
{
    ft_put(&FUTURE(future)->waiting, Py_NewRef(Py_True));
    ft_put(&FUTURE(future)->_asyncio_future_blocking, Py_NewRef(Py_True)); /* yielded by await */
    return Py_NewRef(future);
}

/* The EagerFuture that receives on a connection await; NULL before the first wait creates it. */
static inline PyObject *receiver_of(PyObject *connection)
{
    PyObject *receiver = CONNECTION(connection)->_receiver;
    return is_a(receiver, turn_known.EagerFuture) ? receiver : NULL;
}

/* Whether a task waits for a message of this connection. */
static inline bool listens(PyObject *connection)
{
    PyObject *receiver = receiver_of(connection);
    return receiver && FUTURE(receiver)->waiting == Py_True;
}

/* --- receive.c ---------------------------------------------------------------------------------------------------- */

FT_DECLARE(Reception)

/* What receive() returns, or the iterator of `async for`. */
PyObject *turn_reception(PyObject *connection, bool iterates);

/* --- talk.c ------------------------------------------------------------------------------------------------------- */

FT_DECLARE(Done)

/* Resume the conversation if it waits for a message. turn_settle_talk() sends its output. */
int turn_talk(PyObject *channel, PyObject *runner);
/* Make the socket match the stream after a conversation ran, as Channel.settle() does. */
int turn_settle_talk(PyObject *channel, PyObject *stream, PyObject *runner, PyObject *now);
PyObject *turn_connection_method(PyObject *module, PyObject *arguments);

/* --- serve.c ------------------------------------------------------------------------------------------------------ */

/* Called when the peer has sent FIN or RST. Returns 1 if it has ended the connection, 0 if Python has to act, -1 with
 * an exception. It is in serving/_accept, which creates connections in C. */
int turn_peer_ended(PyObject *channel, PyObject *stream, bool reset, PyObject *now);

/* The clock of time.monotonic(). */
double turn_seconds_now(void);
PyObject *turn_poll(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *turn_serve_many(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
