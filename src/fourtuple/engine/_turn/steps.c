/* The first steps of coroutines. A spare task stands in as the current one; it runs a coroutine that waits. The twin is
 * handlers/coroutines.py, and handlers/spares.py has the tasks. */
#include "engine/_turn/turn.h"

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

int turn_begin_steps(Steps *steps, PyObject *runner)
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

PyObject *turn_step(Steps *steps, PyObject *message)
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

int turn_end_steps(Steps *steps, PyObject *runner, int status)
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
