/* Several connections at a time, in stages: receive from all, run their handlers, send their replies.
 *
 * The kernel's receive code, the interpreter and the kernel's send code are each too large for the processor's nearest
 * caches. If each connection went through all three in turn, each code would evict the others.
 */
#include "engine/_turn/turn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#define MOST_EVENTS 1024 /* the most events of one epoll_wait(2) */
#define MOST_DUE 16      /* connections of one stage: the octets of so few stay in the second-level cache */
#define ENOUGH 65536     /* octets of one stage: more would not stay there; large messages are handled one at a time */
#define PATIENCE 0.0002  /* seconds that handlers may run before the replies of earlier handlers are sent */

/* --- one connection ----------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject *channel, *stream;
    ssize_t size; /* of the read, in octets */
    bool uncut;   /* the decoder holds the octets; their messages are not in the inbox yet */
    bool to_send; /* whether there are replies of its handler to send */
} Due;

/* The result of reading a channel: an exception; Python has to do everything; the channel is served; its consumer has
 * to run. */
enum { RAISED = -1, DECLINED = 0, SERVED = 1, DUE = 2 };

/* Whether a consumer can ignore half a message. A blocking conversation cannot: it gets its thread at the first
 * octet. */
static inline bool wants_whole(PyObject *consumer)
{
    return replies(consumer) || talks(consumer);
}

/* Put the result of feed(), NULL if it raised, into the inbox. Steals `messages`. */
static int take_messages(PyObject *channel, PyObject *stream, PyObject *decoder, PyObject *messages, PyObject *now)
{
    if (!messages) {
        if (!PyErr_ExceptionMatches(turn_known.MessageError) || ft_hand_error(stream, str._message_error) < 0 ||
            ft_done(ft_call0(channel, str._consume)) < 0)
            return RAISED;
        return SERVED;
    }
    Py_ssize_t count = turn_fill_inbox(stream, decoder, messages, now);
    PyObject *consumer = CHANNEL(channel)->consumer;
    /* turn_reply() itself revisits an inline reply service for the octets after a full batch. */
    bool left = count >= known_limits.max_batch && !(replies(consumer) && splits(decoder));
    if (count < 0 || (left && turn_note_uncut(stream) < 0))
        return RAISED;
    return count || !wants_whole(consumer) ? DUE : SERVED;
}

/* Nothing was read: the end of file if the size is 0, else an error of the socket. */
static int take_nothing(PyObject *channel, PyObject *stream, ssize_t size, PyObject *now)
{
    int code = size ? errno : 0;
    if (PyErr_Occurred())
        return RAISED;
    if (code == EAGAIN || code == EWOULDBLOCK || code == EINTR)
        return SERVED;
    if ((!code || code == ECONNRESET) && STREAM(stream)->layer == Py_None) { /* with TLS, it may have cut a message */
        int ended = turn_peer_ended(channel, stream, code, now);
        if (ended)
            return ended;
    }
    if (!code)
        return ft_done(ft_call1(channel, str._took, turn_no_octets)) < 0 ? RAISED : SERVED;
    errno = code;
    PyErr_SetFromErrno(PyExc_OSError);
    return ft_hand_error(channel, str._broken) < 0 ? RAISED : SERVED;
}

/* Receive. The messages are then in the inbox, or the octets, uncut, in the decoder. */
static int read_channel(PyObject *channel, PyObject *now, Due *due)
{
    PyObject *stream = CHANNEL(channel)->stream, *consumer = CHANNEL(channel)->consumer;
    if (!is_served(channel, stream) || Py_SIZE(IN(stream)->inbox) || !is_written(stream) || turn_note_uncut(stream) < 0 ||
        !is_fast(stream) || know_limits_of(stream) < 0)
        return PyErr_Occurred() ? RAISED : DECLINED;

    PyObject *messages = NULL, *decoder = Py_NewRef(IN(stream)->decoder);
    /* Not for a conversation that does not wait for a message: it would leave octets uncut, which do not pause
     * reading. */
    bool later = replies(consumer) || (talks(consumer) && listens(CONSUMER(consumer)->_connection));
    int status = RAISED;
    Py_INCREF(stream);
    ssize_t size = turn_read((int)PyLong_AsLong(CHANNEL(channel)->fd), stream, later, now, &messages);
    if (size <= 0)
        status = take_nothing(channel, stream, size, now);
    /* None: Python has decoded them; with nothing in the inbox, it goes on. NULL: they are uncut. */
    else if (messages == Py_None || (!messages && !PyErr_Occurred()))
        status = DUE;
    else
        status = take_messages(channel, stream, decoder, messages, now);
    if (status == DUE)
        *due = (Due){Py_NewRef(channel), Py_NewRef(stream), size, !messages, false};
    if (messages == Py_None)
        Py_DECREF(messages);
    Py_DECREF(decoder);
    Py_DECREF(stream);
    return status;
}

/* Let the consumer take what was read. Handlers of other connections have run since, so every condition is checked
 * again. */
static int consume(Due *due, PyObject *now)
{
    PyObject *channel = due->channel, *stream = due->stream;
    if (know_limits_of(stream) < 0)
        return -1;
    if (!is_served(channel, stream) || (due->uncut && (Py_SIZE(IN(stream)->inbox) || !splits(IN(stream)->decoder))))
        return due->uncut && turn_note_uncut(stream) < 0 ? -1 : ft_done(ft_call1(channel, str.on_ready, turn_zero));
    if (due->uncut) {
        PyObject *decoder = Py_NewRef(IN(stream)->decoder);
        PyObject *messages = split_feed(decoder, turn_no_octets, known_limits.max_batch);
        int status = take_messages(channel, stream, decoder, messages, now);
        Py_DECREF(decoder);
        if (status != DUE)
            return status < 0 ? -1 : 0;
    }
    PyObject *consumer = CHANNEL(channel)->consumer;
    if (!wants_whole(consumer))
        return ft_done(ft_call0(channel, str._consume));
    if (!PyList_CheckExact(IN(stream)->inbox) || !PyList_GET_SIZE(IN(stream)->inbox))
        return ft_done(ft_call1(channel, str.on_ready, turn_zero));
    Py_INCREF(consumer);
    int status;
    if (replies(consumer)) {
        status = turn_reply(channel, stream, consumer, &due->to_send);
    }
    else {
        status = turn_talk(channel, consumer);
        due->to_send = !status;
    }
    Py_DECREF(consumer);
    return status;
}

/* Send the handler's replies. Returns 1 if Python code had to handle the case. */
static int send_due(Due *due, PyObject *now)
{
    PyObject *channel = due->channel, *stream = due->stream, *runner = CHANNEL(channel)->consumer;
    if (!is_replying(runner) && !talks(runner))
        return ft_done(ft_call1(channel, str.on_ready, turn_zero)) < 0 ? -1 : 1;
    Py_INCREF(runner);
    int status;
    if (talks(runner))
        status = turn_settle_talk(channel, stream, runner, now);
    else if (is_served(channel, stream))
        status = turn_send_batch(channel, stream, runner, now);
    else
        status = ft_done(ft_call0(runner, str.carry_on)) < 0 ? -1 : 1;
    Py_DECREF(runner);
    return status;
}

/* --- several at a time -------------------------------------------------------------------------------------------- */

/* poll(epoll_fd, watchers, most): look into an epoll set, without waiting. Returns a list of (watcher, events) for the
 * descriptors that are in the dict of watchers. Raises OSError. */
PyObject *turn_poll(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyDict_CheckExact(arguments[1]))
        return PyErr_Format(PyExc_TypeError, "poll() takes a descriptor, a dict and a number");
    int epoll_fd = (int)PyLong_AsLong(arguments[0]), most = (int)PyLong_AsLong(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    PyObject *watchers = arguments[1];
    struct epoll_event found[MOST_EVENTS];
    int ready = epoll_wait(epoll_fd, found, Py_MIN(most, MOST_EVENTS), 0);
    if (ready < 0 && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < ready; i++) {
        PyObject *fd = PyLong_FromLong(found[i].data.fd);
        PyObject *watcher = fd ? PyDict_GetItemWithError(watchers, fd) : NULL;
        Py_XDECREF(fd);
        if (!watcher && !PyErr_Occurred())
            continue; /* unregistered in the meantime */
        PyObject *pair = watcher ? Py_BuildValue("(Ok)", watcher, (unsigned long)found[i].events) : NULL;
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

double turn_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The running turn. */
typedef struct {
    PyObject *engine, *now;
    double before, end, slow; /* the last reading of the clock, the end of the turn, the limit of a slow handler */
} Turn;

/* Serving a channel raised: only this connection ends. */
static int tell_failed(Turn *turn, PyObject *channel)
{
    return ft_done(PyObject_CallMethod(turn->engine, "_failed", "ON", channel, ft_caught()));
}

/* Read the clock, and report the channel if it took long. */
static int tell_slow(Turn *turn, PyObject *channel)
{
    double after = turn_seconds_now(), took = after - turn->before;
    turn->before = after;
    return took <= turn->slow ? 0 : ft_done(PyObject_CallMethod(turn->engine, "_slow", "Od", channel, took));
}

/* The moment from which replies may wait for other handlers again. */
static double patient_from;

/* Run the handler of a channel that is due. A handler that took long may do so again, and the replies of others must
 * not wait for it. So replies are sent at once for 16 times as long as it took. */
static int handle(Turn *turn, Due *due)
{
    double before = turn->before;
    Share *share = share_of(due->channel);
    if (share)
        turn_begin_share(share, before, share->seconds);
    if ((consume(due, turn->now) < 0 && tell_failed(turn, due->channel) < 0) || tell_slow(turn, due->channel) < 0)
        return -1;
    if (turn->before - before > PATIENCE)
        patient_from = turn->before + 16 * (turn->before - before);
    return 0;
}

/* Send the replies of a handler. */
static int answer(Turn *turn, Due *due)
{
    if (!due->to_send)
        return 0;
    int unusual = send_due(due, turn->now);
    if (unusual < 0 && tell_failed(turn, due->channel) < 0)
        return -1;
    /* An encoder in Python may be slow, too. */
    return unusual || !turn_encoder_of(STREAM(due->stream)->framing) ? tell_slow(turn, due->channel) : 0;
}

static void forget(Due *due, int count)
{
    for (int i = 0; i < count; i++) {
        Py_DECREF(due[i].channel);
        Py_DECREF(due[i].stream);
    }
}

/* Whether a pair of watcher and events is a channel for which recv(2) tells everything: octets, end of file or
 * error. */
static inline bool is_to_read(PyObject *pair)
{
    PyObject *channel = PyTuple_GET_ITEM(pair, 0);
    long events = PyLong_AsLong(PyTuple_GET_ITEM(pair, 1)), known = EPOLLIN | EPOLLERR | EPOLLHUP;
    return (events & known) && !(events & ~known) && is_a(channel, turn_known.Channel) &&
           PyLong_AsLong(CHANNEL(channel)->mask);
}

/* Receive from the channels of ready[*at:most] until enough are due. Returns how many are due, -1 with an exception.
 * `*on` becomes false before a channel that is not on the fast path, and when the time is over. */
static int receive_stage(Turn *turn, PyObject *ready, Py_ssize_t *at, Py_ssize_t most, Due *due, bool *on)
{
    int count = 0;
    ssize_t size = 0;
    while (*on && count < MOST_DUE && size < ENOUGH && *at < most && *at < PyList_GET_SIZE(ready)) {
        PyObject *pair = PyList_GET_ITEM(ready, *at), *channel = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        int served = is_to_read(pair) ? read_channel(channel, turn->now, &due[count]) : DECLINED, status = 0;
        bool quick = served == DUE && splits(IN(due[count].stream)->decoder);
        if (served == DUE)
            size += due[count++].size;
        if (served != DECLINED && !quick) {
            status = served == RAISED ? tell_failed(turn, channel) : 0;
            if (!status)
                status = tell_slow(turn, channel);
        }
        Py_DECREF(channel);
        if (status < 0) {
            forget(due, count);
            return -1;
        }
        *at += served != DECLINED;
        *on = served != DECLINED && turn->before <= turn->end;
    }
    return count;
}

/* Channels that were read but not handled in time come first in the next turn, without events of the kernel. */
static int give_back(PyObject *ready, Py_ssize_t at, Due *due, int count)
{
    for (int i = count; i-- > 0;) {
        PyObject *pair = PyTuple_Pack(2, due[i].channel, turn_zero);
        int status = pair ? PyList_Insert(ready, at, pair) : -1;
        if (!status && due[i].uncut)
            status = turn_note_uncut(due[i].stream);
        Py_XDECREF(pair);
        if (status < 0)
            return -1;
    }
    return 0;
}

/* Run the handlers of the channels that are due, and send their replies. */
static int reply_stage(Turn *turn, PyObject *ready, Py_ssize_t at, Due *due, int count)
{
    int handled = 0, sent = 0, status = 0;
    turn->before = turn_seconds_now();
    while (!status && sent < count && (!handled || turn->before <= turn->end)) {
        double began = turn->before;
        do
            status = handle(turn, &due[handled++]);
        while (!status && handled < count && turn->before <= turn->end && turn->before - began < PATIENCE &&
               turn->before >= patient_from);
        for (; !status && sent < handled; sent++)
            status = answer(turn, &due[sent]);
        if (handled < count)
            turn->before = turn_seconds_now(); /* so that the next handler is not charged for the time of sending */
    }
    if (!status && handled < count)
        status = give_back(ready, at, due + handled, count - handled);
    forget(due, count);
    return status;
}

/* serve_many(engine, ready, first, most, end, slow): serve the events of ready[first:most] until one is not on the fast
 * path, or time.monotonic() is past `end`.
 *
 * Returns how many of `ready` are served. After these, watchers without events may be inserted: their messages are read,
 * but not handled. An exception goes to engine._failed(watcher, error); a watcher that took more than `slow` seconds is
 * reported to engine._slow(watcher, seconds). */
PyObject *turn_serve_many(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 6 || !is_a(arguments[0], turn_known.Engine) || !PyList_CheckExact(arguments[1]))
        return PyErr_Format(PyExc_TypeError, "serve_many() takes an engine, a list and four numbers");
    PyObject *ready = arguments[1];
    Py_ssize_t at = PyLong_AsSsize_t(arguments[2]), most = PyLong_AsSsize_t(arguments[3]);
    Turn turn = {.engine = arguments[0], .end = PyFloat_AsDouble(arguments[4]), .slow = PyFloat_AsDouble(arguments[5])};
    if (PyErr_Occurred())
        return NULL;
    turn.now = Py_NewRef(ENGINE(turn.engine)->now);
    Due due[MOST_DUE];
    bool on = true;
    int status = 0;
    turn.before = turn_seconds_now();
    while (on && status >= 0 && at < most) {
        status = receive_stage(&turn, ready, &at, most, due, &on);
        if (status > 0)
            status = reply_stage(&turn, ready, at, due, status);
        else
            break;
        if (on && at < most)
            turn.before = turn_seconds_now();
        on = on && turn.before <= turn.end;
    }
    Py_DECREF(turn.now);
    return status < 0 ? NULL : PyLong_FromSsize_t(at);
}
