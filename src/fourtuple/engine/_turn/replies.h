/* The middle: a handler called for the messages of the inbox. */
#ifndef FOURTUPLE_TURN_REPLIES_H
#define FOURTUPLE_TURN_REPLIES_H

#include "in.h"
#include "out.h"
#include "share.h"

#define MOST_FORESEEN 256 /* replies that room is made for before they are there */

/* Put a reply behind the others, steals it. `coming` more may follow: room for them is made once, not for every eight. */
static inline int
append_reply(PyObject *pending, PyObject *reply, Py_ssize_t coming)
{
#ifndef Py_GIL_DISABLED
    PyListObject *list = (PyListObject *)pending;
    if (PyList_CheckExact(pending) && !list->ob_item && coming) {
        coming = Py_MIN(coming, MOST_FORESEEN - 1);
        list->ob_item = PyMem_New(PyObject *, coming + 1);
        if (list->ob_item)
            list->allocated = coming + 1;
    }
    if (PyList_CheckExact(pending) && Py_SIZE(list) < list->allocated) {
        list->ob_item[Py_SIZE(list)] = reply;
        Py_SET_SIZE(list, Py_SIZE(list) + 1);
        return 0;
    }
#endif
    int status = PyList_Append(pending, reply);
    Py_DECREF(reply);
    return status;
}

/* Call the handler for the messages of the inbox while the replies are octets, which wait in stream.pending, and there
 * is room for them, and a share of the loop. `*unusual` is the reply that is something else. A handler that closes, or
 * changes the framing, of its own connection empties the inbox in place: then this ends, too. */
static int
run_handler(PyObject *stream, PyObject *inbox, PyObject *handle, Share *share, Py_ssize_t *room, PyObject **unusual)
{
    /* Looked up once; of a function in Python, whose results need no check. */
    vectorcallfunc call = PyFunction_Check(handle) ? PyVectorcall_Function(handle) : PyObject_Vectorcall;
    *unusual = NULL;
    while (*room > 0 && PyList_GET_SIZE(inbox)) {
        if (share && share->left <= 0) {
            int over = look_at_share(share);
            if (over)
                return over < 0 ? -1 : 0;
            continue;
        }
        /* The last one, as list.pop() takes it. */
        Py_ssize_t last = PyList_GET_SIZE(inbox) - 1;
        PyObject *message = PyList_GET_ITEM(inbox, last), *arguments[] = {NULL, message};
        if (Py_IS_TYPE(message, replies_class.unmapped))
            return 0;
        Py_SET_SIZE(inbox, last);
        if (share)
            share->left--;
        PyObject *answer = call(handle, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (split)
            pool_give(split->pool, message);
        else
            Py_DECREF(message);
        if (!answer)
            return -1;
        if (PyBytes_Check(answer)) {
            *room -= PyBytes_GET_SIZE(answer);
            /* Not the list of a moment ago: a handler that sends has it encoded, and the next one takes its place. */
            if (append_reply(get(stream, stream_class.pending), answer, PyList_GET_SIZE(inbox)) < 0)
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

/* Whether something may come of what is held, an error above all. Of half a message, a decoder in C knows that nothing
 * does. */
static inline bool
holds_more(PyObject *stream)
{
    PyObject *decoder = get(stream, stream_class.decoder);
    return splits(decoder) ? split->failed(decoder) : get(stream, stream_class.message_since) != Py_None;
}

/* Call the handler for every message of the inbox. `*to_send` says whether what it replied is to be sent now. */
static int
reply(PyObject *channel, PyObject *stream, PyObject *runner, bool *to_send)
{
    PyObject *inbox = Py_NewRef(get(stream, stream_class.inbox));
    PyObject *handle = Py_NewRef(get(runner, replies_class.handle));
    PyObject *decoder = Py_NewRef(get(stream, stream_class.decoder));
    bool full = PyList_GET_SIZE(inbox) >= known_limits.max_batch, last_words = false;
    Py_ssize_t high_water = known_limits.high_water; /* another thread's engine may look at others meanwhile */
    Py_ssize_t room = high_water - PyLong_AsSsize_t(get(stream, stream_class.outbox_size));
    Share *share = share_of(channel);
    PyObject *unusual;
    int status;

    while (!(status = run_handler(stream, inbox, handle, share, &room, &unusual)) && unusual && !last_words) {
        last_words = Py_IS_TYPE(unusual, replies_class.last);
        if (last_words)
            status = done(call1(runner, str_say, unusual));
        else
            status = take_value(channel, stream, unusual);
        Py_DECREF(unusual);
        if (status < 0)
            break;
        Py_ssize_t waiting = PyLong_AsSsize_t(get(stream, stream_class.outbox_size));
        if (room > high_water - waiting)
            room = high_water - waiting;
    }
    if (status < 0) {
        status = hand_error(runner, str_failed);
        if (!status)
            status = done(call0(channel, str_consume));
        goto end;
    }
    /* The handler may have done anything: to its own connection, too. */
    if (room <= 0 || last_words || Py_SIZE(get(stream, stream_class.inbox)) || !usual(channel, stream) ||
        holds_more(stream)) {
        status = done(call0(runner, str_carry_on));
        goto end;
    }
    /* All octets of the batch are delivered: none need be kept. */
    if (get(stream, stream_class.decoder) == decoder)
        status = splits(decoder) ? split->settle(decoder) : done(call0(decoder, str_settle));
    *to_send = !status;
    if (!status)
        status = encode_early(stream);
    /* An empty list each is much for thousands that idle. */
    PyObject *nothing = status ? NULL : PyTuple_New(0);
    if (nothing)
        set(stream, stream_class.inbox, nothing);
    if (!status && full)
        status = done(call0(runner, str_revisit));
end:
    Py_DECREF(decoder);
    Py_DECREF(inbox);
    Py_DECREF(handle);
    return status;
}

#endif
