/* The share of the loop's time that one handler may use, in C: engine/share.py documents Share. */
#include "engine/_turn/turn.h"

#include <time.h>

#define FEW 16 /* the most messages between two readings of the clock */

/* The coarse clock is exact to one tick of the kernel (usually 4 ms; clock_gettime(2)), and reading it costs a fifth of
 * the exact clock. It may be late by one tick, so the end of a share is set earlier by that time: a share should never
 * be longer than its seconds. */
#define ROUGH_CLOCK CLOCK_MONOTONIC_COARSE
#define MOST_OF_IT 0.8 /* the largest part of a share that is subtracted for this */

void turn_begin_share(Share *share, double now)
{
    share->until = now + share->seconds - Py_MIN(share->rough, MOST_OF_IT * share->seconds);
    share->count = 0;
    share->left = share->gap = 1;
    share->over = 0;
}

/* Whether the share's time is over, by the clock. -1 with an exception. */
static inline int is_late(const Share *share)
{
    if (!share->clock) {
        struct timespec now;
        clock_gettime(ROUGH_CLOCK, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 > share->until;
    }
    PyObject *now = PyObject_CallNoArgs(share->clock);
    double seconds = now ? PyFloat_AsDouble(now) : -1.0;
    Py_XDECREF(now);
    return PyErr_Occurred() ? -1 : seconds > share->until;
}

static inline int end_share(Share *share)
{
    share->left = 0;
    share->over = 1;
    return 1;
}

int turn_look_at_share(Share *share)
{
    if (share->over)
        return 1;
    share->count += share->gap - share->left;
    int late = share->count >= share->messages ? 1 : is_late(share);
    if (late)
        return late < 0 ? -1 : end_share(share);
    share->gap = Py_MIN(Py_MIN(4 * share->gap, FEW), share->messages - share->count);
    share->left = share->gap;
    return 0;
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
    share->rough = 0.0;
    struct timespec tick;
    if (!clock && !clock_getres(ROUGH_CLOCK, &tick))
        share->rough = (double)tick.tv_sec + (double)tick.tv_nsec * 1e-9;
    share->clock = Py_XNewRef(clock);
    turn_begin_share(share, 0.0);
    return (PyObject *)share;
}

static int share_traverse(Share *share, visitproc visit, void *arg)
{
    Py_VISIT(share->clock);
    return 0;
}

static int share_clear(Share *share)
{
    Py_CLEAR(share->clock);
    return 0;
}

static void share_dealloc(Share *share)
{
    PyObject_GC_UnTrack(share);
    Py_CLEAR(share->clock);
    Py_TYPE(share)->tp_free(share);
}

static PyObject *share_begin(Share *share, PyObject *now)
{
    double seconds = PyFloat_AsDouble(now);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    turn_begin_share(share, seconds);
    Py_RETURN_NONE;
}

static PyObject *share_look(Share *share, PyObject *Py_UNUSED(none))
{
    int over = turn_look_at_share(share);
    return over < 0 ? NULL : PyBool_FromLong(over);
}

static PyObject *share_late(Share *share, PyObject *Py_UNUSED(none))
{
    if (share->over)
        Py_RETURN_TRUE;
    int late = is_late(share);
    if (late < 0)
        return NULL;
    return PyBool_FromLong(late && end_share(share));
}

static PyObject *share_spend(Share *share, PyObject *const *arguments, Py_ssize_t count)
{
    if (count > 1) {
        PyErr_SetString(PyExc_TypeError, "spend() takes a number, or nothing");
        return NULL;
    }
    Py_ssize_t messages = count ? PyLong_AsSsize_t(arguments[0]) : 1;
    if (messages == -1 && PyErr_Occurred())
        return NULL;
    share->left -= messages;
    if (share->left > 0)
        Py_RETURN_FALSE;
    return share_look(share, NULL);
}

static PyMethodDef share_methods[] = {
    {"begin", (PyCFunction)share_begin, METH_O,
     PyDoc_STR("begin($self, now, /)\n--\n\nSomebody else is at work from now on.")},
    {"late", (PyCFunction)share_late, METH_NOARGS,
     PyDoc_STR("late($self, /)\n--\n\nReturn whether the share is spent, by the clock: behind what may have taken long by "
               "itself.")},
    {"look", (PyCFunction)share_look, METH_NOARGS,
     PyDoc_STR("look($self, /)\n--\n\nWith nothing left: return whether the share is spent, else ``left`` says when to "
               "look again.")},
    {"spend", FT_FAST(share_spend), METH_FASTCALL,
     PyDoc_STR("spend($self, messages=1, /)\n--\n\nCount messages; return whether the share is spent.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef share_members[] = {
    {"left", T_PYSSIZET, offsetof(Share, left), 0, "Messages until look() is to be called."},
    {"messages", T_PYSSIZET, offsetof(Share, messages), 0, "What one share is."},
    {"over", T_BOOL, offsetof(Share, over), READONLY, "Whether all is spent, as far as is known."},
    {"seconds", T_DOUBLE, offsetof(Share, seconds), 0, "What one share is."},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject turn_share_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fourtuple._turn.Share",
    .tp_doc = PyDoc_STR("Share(seconds, messages, clock=time.monotonic)\n--\n\n"
                        "See fourtuple.engine.share: what is left of the loop for whoever is at work."),
    .tp_basicsize = sizeof(Share),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = share_new,
    .tp_dealloc = (destructor)share_dealloc,
    .tp_traverse = (traverseproc)share_traverse,
    .tp_clear = (inquiry)share_clear,
    .tp_methods = share_methods,
    .tp_members = share_members,
};
