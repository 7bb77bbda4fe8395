/* Replies: call a handler for the messages of the inbox. */
#include "engine/_turn/turn.h"

/* --- the first steps of coroutines: the twin is handlers/coroutines.py -------------------------------------------- */

/* A spare task (handlers/spares.py) stands in as the current one; it runs a coroutine that waits. */

/* The handlers of one batch that are coroutines, or generators. */
typedef struct {
    bool pulls; /* from generators; else it takes the first steps of coroutines */
    bool worn;  /* the task that stood in cannot do so for the next message */
    PyObject *handle, *framing;            /* the handler, and the framing of the message that it has now */
    PyObject *spares, *task;               /* of coroutines: the task stands in */
    Py_ssize_t references;                 /* to this task */
    PyObject *begun, *context, *yielded;   /* a coroutine that waits for what it yielded; or a generator that goes on */
    PyObject *message;                     /* of this generator */
} Steps;

/* Call asyncio's _enter_task() or _leave_task(). */
static int change_task(PyObject *change, PyObject *spares, PyObject *task)
{
    PyObject *arguments[] = {NULL, SPARES(spares)->loop, task};
    return ft_done(PyObject_Vectorcall(change, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
}

/* Whether a task is parked that can stand in. */
static inline bool is_parked(PyObject *spares)
{
    PyObject *parked = SPARES(spares)->parked;
    return is_a(parked, turn_known.EagerFuture) && FUTURE(parked)->_callback != Py_None;
}

/* Begin the steps of a batch: 1; 0 if no task can stand in now, -1 with an exception. */
static int begin_steps(Steps *steps, PyObject *runner)
{
    *steps = (Steps){.pulls = is_a(runner, turn_known.InlineGenerators)};
    if (!steps->pulls) {
        PyObject *spares = PyObject_GetAttr(CONSUMER(runner)->host, str.spares);
        int within = !spares ? -1
                     : !PyObject_TypeCheck(spares, SparesFields_type) || !is_parked(spares)
                         ? 1
                         : turn_within_task(SPARES(spares)->loop);
        if (!within)
            within = change_task(turn_known.enter_task, spares, SPARES(spares)->task);
        if (within) {
            Py_XDECREF(spares);
            return within < 0 ? -1 : 0;
        }
        steps->spares = spares;
        steps->task = Py_NewRef(SPARES(spares)->task);
        steps->references = Py_REFCNT(steps->task);
    }
    steps->handle = CONSUMER(runner)->_handle;
    CONSUMER(runner)->_handle = Py_NewRef(Py_None); /* it is under way */
    return 1;
}

/* Let the coroutine of a message take its first step; return its reply. NULL without an exception: it waits. */
static PyObject *first_step(Steps *steps, PyObject *message)
{
    PyObject *context = PyContext_Copy(SPARES(steps->spares)->context), *reply = NULL;
    if (!context || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    PyObject *coroutine = PyObject_CallOneArg(steps->handle, message);
    PySendResult got = coroutine ? PyIter_Send(coroutine, Py_None, &reply) : PYGEN_ERROR;
    PyObject *error = got == PYGEN_ERROR ? ft_caught() : NULL;
    if (PyContext_Exit(context) < 0)
        PyErr_WriteUnraisable(context);
    if (got == PYGEN_NEXT) {
        steps->begun = coroutine;
        steps->context = context;
        steps->yielded = reply;
        return NULL;
    }
    Py_XDECREF(coroutine);
    Py_DECREF(context);
    /* The handler raised, or it has cancelled the task that stands in, or kept a reference to it: another one stands in
     * from now on. The exception for the end of this handler may be another one, or None. */
    if (error || !is_parked(steps->spares) || Py_REFCNT(steps->task) != steps->references) {
        steps->worn = true;
        PyObject *other = ft_call1(steps->spares, str.replace, error ? error : Py_None);
        Py_XSETREF(error, other ? other : ft_caught());
    }
    if (error == Py_None)
        Py_CLEAR(error);
    if (error) {
        Py_CLEAR(reply);
        ft_raise(error);
    }
    return reply;
}

/* What has not ended goes on in Python. */
static int hand_over(Steps *steps, PyObject *runner)
{
    PyObject *all[] = {runner, steps->begun, steps->framing, steps->context, steps->yielded};
    PyObject *handed = PyObject_VectorcallMethod(str._go_on_with, all, steps->pulls ? 3 : 5, NULL);
    return ft_done(handed);
}

/* End the steps of a batch with this status, and return it. What waits or goes on is handed to Python. */
static int end_steps(Steps *steps, PyObject *runner, int status)
{
    PyObject *error = status < 0 ? ft_caught() : NULL;
    status = steps->task ? change_task(turn_known.leave_task, steps->spares, steps->task) : 0;
    if (steps->begun)
        status = hand_over(steps, runner) < 0 ? -1 : status;
    else
        ft_put(&CONSUMER(runner)->_handle, Py_NewRef(steps->handle));
    PyObject *all[] = {steps->handle, steps->framing, steps->spares, steps->task, steps->begun, steps->context,
                       steps->yielded, steps->message};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        Py_XDECREF(all[i]);
    if (!error)
        return status;
    if (status < 0)
        PyErr_WriteUnraisable(runner);
    ft_raise(error);
    return -1;
}

/* --- one message after the other ---------------------------------------------------------------------------------- */

/* Pull the next reply of a generator, or its end, which is None. */
static PyObject *pull(Steps *steps)
{
    PyObject *reply = NULL;
    PySendResult got = PyIter_Send(steps->begun, Py_None, &reply);
    if (got != PYGEN_NEXT) {
        Py_CLEAR(steps->begun);
        pool_give(steps->message);
        steps->message = NULL;
    }
    if (got == PYGEN_RETURN)
        ft_put(&reply, Py_NewRef(Py_None));
    return reply;
}

/* Call a handler with a message, and release the message. NULL without an exception: its coroutine waits. */
static PyObject *handled(PyObject *handle, vectorcallfunc call, PyObject *message, Steps *steps, PyObject *stream)
{
    PyObject *arguments[] = {NULL, message};
    if (steps) {
        Py_XSETREF(steps->framing, Py_NewRef(STREAM(stream)->framing));
        if (steps->pulls) {
            steps->message = message;
            steps->begun = call(handle, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
            return steps->begun ? pull(steps) : NULL;
        }
    }
    PyObject *answer = steps ? first_step(steps, message)
                             : call(handle, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    pool_give(message);
    return answer;
}

/* Whether a handler of steps has changed the framing: its reply is encoded as its message was, at once. */
static inline bool has_changed(Steps *steps, PyObject *stream)
{
    return steps && steps->framing != STREAM(stream)->framing;
}

/* Call the handler for the messages of the inbox. Replies that are bytes wait in stream.pending. This ends when there
 * is no room for more replies, when the share is spent, before an unmapped message, or at a reply of another type,
 * which `*unusual` gets. It also ends when a handler closes its own connection or changes its framing, because that
 * empties the inbox in place. `steps` is for handlers that are coroutines or generators; plain ones get a copy of this
 * function without it. */
static Py_ALWAYS_INLINE inline int run_handler(PyObject *stream, PyObject *inbox, PyObject *handle, Share *share,
                                               Py_ssize_t high_water, Py_ssize_t *room, Steps *steps, PyObject **unusual)
{
    /* Looked up once. A Python function is called directly, because its results need no check. */
    vectorcallfunc call = PyFunction_Check(handle) ? PyVectorcall_Function(handle) : PyObject_Vectorcall;
    *unusual = NULL;
    ft_foresee(OUT(stream)->pending, PyList_GET_SIZE(inbox));
    while (*room > 0) {
        bool pulls = steps && steps->begun;
        if (pulls ? !is_fast(stream) : !PyList_GET_SIZE(inbox) || (steps && steps->worn))
            return 0;
        if (share->left <= 0) {
            int over = turn_look_at_share(share);
            if (over)
                return over < 0 ? -1 : 0;
            continue;
        }
        /* As list.pop(): the inbox is reversed, so the last one is the next message. */
        Py_ssize_t last = PyList_GET_SIZE(inbox) - 1;
        PyObject *message = pulls ? NULL : PyList_GET_ITEM(inbox, last);
        if (!pulls && is_a(message, turn_known.Unmapped))
            return 0;
        if (!pulls)
            Py_SET_SIZE(inbox, last);
        share->left--;
        PyObject *answer = pulls ? pull(steps) : handled(handle, call, message, steps, stream);
        if (!answer)
            return PyErr_Occurred() ? -1 : 0;
        if (OUT(stream)->outbox_size != turn_zero) /* it may have sent, besides what it returns */
            *room = Py_MIN(*room, high_water - outbox_size(stream));
        if (PyBytes_Check(answer) && !has_changed(steps, stream)) {
            *room -= PyBytes_GET_SIZE(answer);
            /* Read `pending` again: a handler that sends has the old list encoded and may replace it. */
            if (ft_append(OUT(stream)->pending, answer) < 0)
                return -1;
        }
        else if (answer != Py_None) {
            *unusual = answer;
            return 0;
        }
        else {
            Py_DECREF(answer);
        }
    }
    return 0;
}

/* Take a reply that run_handler() leaves: of another type, or in another framing. */
static int take_unusual(PyObject *channel, PyObject *stream, PyObject *runner, Steps *steps, PyObject *reply, bool last)
{
    if (!last && !has_changed(steps, stream))
        return turn_take_value(channel, stream, reply);
    return ft_done(PyObject_CallMethod(runner, "say", "OO", reply, steps ? steps->framing : Py_None));
}

/* As run_handler(), but also take replies of other types. `*left`: there is no room for more, or a reply was a
 * ReplyAndClose, or a coroutine or generator goes on. */
static int run_all(PyObject *channel, PyObject *stream, PyObject *runner, Share *share, PyObject *inbox, Steps *steps,
                   bool *left)
{
    PyObject *handle = Py_NewRef(steps ? steps->handle : CONSUMER(runner)->_handle), *unusual;
    Py_ssize_t high_water = known_limits.high_water; /* a copy: another engine may load other limits */
    Py_ssize_t room = high_water - outbox_size(stream);
    bool last_words = false;
    int status;
    while (!(status = steps ? run_handler(stream, inbox, handle, share, high_water, &room, steps, &unusual)
                            : run_handler(stream, inbox, handle, share, high_water, &room, NULL, &unusual)) &&
           unusual && !last_words) {
        last_words = is_a(unusual, turn_known.ReplyAndClose);
        status = take_unusual(channel, stream, runner, steps, unusual, last_words);
        Py_DECREF(unusual);
        if (status < 0)
            break;
        room = Py_MIN(room, high_water - outbox_size(stream));
    }
    Py_DECREF(handle);
    *left = room <= 0 || last_words || (steps && ((steps->pulls && steps->begun) || steps->worn));
    return steps ? end_steps(steps, runner, status) : status;
}

/* Whether the held octets may give a message or, above all, an error. A decoder in C knows that half a message gives
 * neither. */
static inline bool holds_more(PyObject *stream)
{
    PyObject *decoder = IN(stream)->decoder;
    return splits(decoder) ? split_failed(decoder) : IN(stream)->message_since != Py_None;
}

int turn_handler_failed(PyObject *channel, PyObject *runner)
{
    return ft_hand_error(runner, str._failed) < 0 ? -1 : ft_done(ft_call0(channel, str._consume));
}

/* All messages of a batch are handled: release their octets. `again`: the runner is served again in the next turn. */
static int end_batch(PyObject *stream, PyObject *runner, PyObject *decoder, bool again, bool *to_send)
{
    if (IN(stream)->decoder == decoder &&
        (splits(decoder) ? split_settle(decoder) : ft_done(ft_call0(decoder, str.settle))) < 0)
        return -1;
    int status = turn_encode_early(stream);
    /* For thousands of idle connections, an empty list each takes much memory. */
    PyObject *nothing = status < 0 ? NULL : PyTuple_New(0);
    if (nothing)
        ft_put(&IN(stream)->inbox, nothing);
    *to_send = !status;
    return !status && again ? ft_done(ft_call0(runner, str.revisit)) : status;
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

/* Take the list of the inbox, in the order of the messages; NULL without an exception if Python has to look. */
static PyObject *take_batch(PyObject *stream)
{
    PyObject *messages = IN(stream)->inbox, *nothing;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(messages); i++)
        if (is_a(PyList_GET_ITEM(messages, i), turn_known.Unmapped))
            return NULL;
    if (!is_written(stream) || PyList_Reverse(messages) < 0 || !(nothing = PyTuple_New(0)))
        return NULL;
    IN(stream)->inbox = nothing;
    return messages;
}

/* Take the replies to a batch: 1; 0 if Python has to look: they are not a list of bytes for as many messages; -1 with an
 * exception. */
static int take_replies(PyObject *stream, PyObject *replies, Py_ssize_t count)
{
    if (!PyList_CheckExact(replies) || PyList_GET_SIZE(replies) != count)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyBytes_CheckExact(PyList_GET_ITEM(replies, i)))
            return 0;
    return PyList_SetSlice(OUT(stream)->pending, 0, 0, replies) < 0 ? -1 : 1;
}

/* Call a handler with a batch. Python takes what it returns if that is not usual, and names what is wrong with it; then
 * Python also goes on: `*left`. `*over`: the share is spent. */
static int run_batch(PyObject *channel, PyObject *stream, PyObject *runner, Share *share, PyObject *messages,
                     bool *left, bool *over)
{
    PyObject *framing = Py_NewRef(STREAM(stream)->framing), *handle = Py_NewRef(CONSUMER(runner)->_handle);
    Py_ssize_t count = PyList_GET_SIZE(messages);
    PyObject *replies = PyObject_CallOneArg(handle, messages);
    int status = -1;
    if (replies) {
        share->left -= count;
        status = share->left <= 0 ? turn_look_at_share(share) : 0;
        *over = status;
    }
    if (status >= 0) {
        bool changed = STREAM(stream)->framing != framing || !is_served(channel, stream) || !is_written(stream);
        int taken = changed ? 0 : take_replies(stream, replies, count);
        *left = !taken;
        status = taken ? Py_MIN(taken, 0)
                       : ft_done(PyObject_CallMethod(runner, "_answered", "OnO", replies, count, framing));
    }
    Py_XDECREF(replies);
    Py_DECREF(handle);
    Py_DECREF(framing);
    return status;
}

int turn_reply(PyObject *channel, PyObject *stream, PyObject *runner, bool *to_send)
{
    bool batches = replies_to_batches(runner), left = false, over = false;
    Steps all, *steps = batches || replies_plainly(runner) ? NULL : &all;
    PyObject *inbox = NULL;
    Share *share = share_of(channel);
    if (share && batches)
        inbox = take_batch(stream);
    else if (share && (!steps || begin_steps(steps, runner) > 0))
        inbox = Py_NewRef(IN(stream)->inbox);
    if (!inbox)
        return PyErr_Occurred() ? -1 : ft_done(ft_call0(channel, str._consume));
    PyObject *decoder = Py_NewRef(IN(stream)->decoder);
    bool full = PyList_GET_SIZE(inbox) >= known_limits.max_batch;
    int status = batches ? run_batch(channel, stream, runner, share, inbox, &left, &over)
                         : run_all(channel, stream, runner, share, inbox, steps, &left);
    Py_DECREF(inbox);
    if (status < 0)
        status = turn_handler_failed(channel, runner);
    /* The handler may have changed anything, including its own connection. */
    else if (!left && !Py_SIZE(IN(stream)->inbox) && is_served(channel, stream) && !holds_more(stream))
        status = end_batch(stream, runner, decoder, full || over, to_send);
    else /* Python goes on. After a full batch, octets may be left uncut, and the next batch has its turn later. */
        status = full && turn_note_uncut(stream) < 0
                     ? -1
                     : ft_done(ft_call1(runner, str.carry_on, full ? Py_True : Py_False));
    Py_DECREF(decoder);
    return status;
}
