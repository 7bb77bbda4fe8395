/* The share of the loop's time that one handler may use, in C: engine/share.py documents Share. */
#include "engine/_turn/turn.h"

#define FEW 16     /* the most messages between two readings of the clock */
#define MANY 64    /* messages of which fewer take a whole share are slow */
#define CAREFUL 16 /* after slow messages, the clock is read after each message, for the time of so many shares */

void turn_begin_share(Share *share, double now, double seconds)
{
    share->began = now;
    share->until = now + seconds;
    share->count = 0;
    share->left = share->gap = 1;
    share->over = 0;
    share->careful = now < share->careful_until;
}

Share *turn_share_here(PyObject *channel)
{
    static PyObject *known; /* the thread compared last: converting its number takes longer than the rest */
    static unsigned long number;
    Share *share = share_of(channel);
    PyObject *thread = share ? ENGINE(CHANNEL(channel)->engine)->thread : NULL;
    if (thread != known) {
        if (!thread || !PyLong_CheckExact(thread))
            return NULL;
        number = PyLong_AsUnsignedLongMask(thread);
        Py_XSETREF(known, Py_NewRef(thread));
    }
    return number == PyThreadState_Get()->thread_id ? share : NULL;
}

/* Read the clock of the share; -1 with an exception. */
static inline double time_of(const Share *share)
{
    if (!share->clock)
        return turn_seconds_now();
    PyObject *now = PyObject_CallNoArgs(share->clock);
    double seconds = now ? PyFloat_AsDouble(now) : -1.0;
    Py_XDECREF(now);
    return seconds;
}

int turn_look_at_share(Share *share)
{
    if (share->over)
        return 1;
    Py_ssize_t count = share->count + share->gap - share->left;
    if (count < share->messages) {
        double now = time_of(share);
        if (now == -1.0 && PyErr_Occurred())
            return -1;
        bool slow = (now - share->began) * MANY > share->seconds * (double)count;
        if (now <= share->until) {
            share->careful |= slow; /* the next four might take four times as long */
            share->gap = share->careful ? 1 : Py_MIN(Py_MIN(4 * share->gap, FEW), share->messages - count);
            share->left = share->gap;
            share->count = count;
            return 0;
        }
        if (slow)
            share->careful_until = now + CAREFUL * share->seconds;
    }
    share->left = 0;
    share->over = 1;
    return 1;
}

static PyObject *share_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"seconds", "messages", "clock", NULL};
    double seconds;
    Py_ssize_t messages;
    PyObject *clock = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "dn|O:Share", names, &seconds, &messages, &clock))
        return NULL;
    Share *share = (Share *)type->tp_alloc(type, 0);
    if (!share)
        return NULL;
    share->seconds = seconds;
    share->messages = messages;
    share->careful_until = -Py_HUGE_VAL;
    share->clock = Py_XNewRef(clock);
    turn_begin_share(share, 0.0, seconds);
    return (PyObject *)share;
}

static PyObject *share_begin(Share *share, PyObject *const *arguments, Py_ssize_t count)
{
    if (count < 1 || count > 2)
        return PyErr_Format(PyExc_TypeError, "begin() takes a moment, and how many seconds");
    double now = PyFloat_AsDouble(arguments[0]), seconds = count > 1 ? PyFloat_AsDouble(arguments[1]) : share->seconds;
    if (PyErr_Occurred())
        return NULL;
    turn_begin_share(share, now, seconds);
    Py_RETURN_NONE;
}

static PyObject *share_look(Share *share, PyObject *Py_UNUSED(none))
{
    int over = turn_look_at_share(share);
    return over < 0 ? NULL : PyBool_FromLong(over);
}

static PyObject *share_spend(Share *share, PyObject *arguments)
{
    Py_ssize_t messages = 1;
    if (!PyArg_ParseTuple(arguments, "|n:spend", &messages))
        return NULL;
    share->left -= messages;
    return share->left > 0 ? Py_NewRef(Py_False) : share_look(share, NULL);
}

static PyMethodDef share_methods[] = {
    {"begin", FT_FAST(share_begin), METH_FASTCALL, NULL},
    {"look", (PyCFunction)share_look, METH_NOARGS, NULL},
    {"spend", (PyCFunction)share_spend, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef share_members[] = {
    {"left", T_PYSSIZET, offsetof(Share, left), 0, NULL},
    {"messages", T_PYSSIZET, offsetof(Share, messages), 0, NULL},
    {"over", T_BOOL, offsetof(Share, over), READONLY, NULL},
    {"seconds", T_DOUBLE, offsetof(Share, seconds), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

FT_DEALLOC(Share, 1)
FT_OBJECT(Share, 0, 1,
          {Py_tp_doc, "Share(seconds, messages, clock=time.monotonic)\n--\n\nSee fourtuple.engine.share."},
          {Py_tp_new, share_new}, {Py_tp_methods, share_methods}, {Py_tp_members, share_members})
