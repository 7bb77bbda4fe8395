/* Signal handlers that work while the interpreter is blocked. One call may hold the interpreter's lock (the GIL) for
 * minutes, for example a regular expression or a set of numbers with the same hash. Until it returns, no other thread
 * and no signal handler in Python runs.
 *
 * Two things are done here, only in signal handlers, which call only async-signal-safe functions (signal-safety(7)):
 *
 *   - The signals that ask the process to stop are counted before Python gets them. The third one ends the process.
 *   - A Python thread postpones a timer repeatedly. If that thread cannot run, the timer's signal interrupts the loop's
 *     thread, and faulthandler writes its stack.
 *
 * Without this file the first is done between two bytecodes (see stopping.py), and the second is not done.
 */

#include "compiled.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LAST 3    /* this signal ends the process */
#define LONGEST 512

/* Write a line, unless that would block: a full pipe, or a terminal stopped by Ctrl-S. Return whether it would not. */
static bool write_line(int fd, const char *line, size_t size)
{
    struct pollfd file = {.fd = fd, .events = POLLOUT};
    if (poll(&file, 1, 0) != 1 || !(file.revents & POLLOUT))
        return false;
    return write(fd, line, size) >= 0; /* -1: its reader has gone */
}

/* ------------------------------------------------------------------------------------------------- counting signals */

static void (*python)(int); /* Python's handler, the same for all signals */
static atomic_int came;
static pid_t owner; /* the process that counts; a forked child inherits the handlers but must not. 0: none counts */

/* The contents of the last line: the arguments of say(), or NULL. */
static PyObject *_Atomic said;

/* The process groups that the third signal kills, with SIGKILL because a program may ignore other signals: a table of
 * groups.py, in which 0 is a free place. */
static Py_buffer groups;

static void kill_groups(void)
{
    const volatile int *group = groups.buf;
    for (Py_ssize_t i = 0; i < groups.len / (Py_ssize_t)sizeof *group; i++) {
        int number = group[i];
        if (number > 0)
            kill(-number, SIGKILL);
    }
}

/* Append a number to the last line, which is composed without stdio: a signal handler must not use it. */
static char *put_number(char *to, Py_ssize_t number)
{
    char digits[24], *at = digits + sizeof digits;
    *--at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    return stpcpy(to, at);
}

/* End the process now. */
static _Noreturn void end_process(int number)
{
    kill_groups();
    char line[LONGEST], *to = stpcpy(line, "fourtuple: third signal (");
    to = stpcpy(to, number == SIGINT ? "SIGINT): ended at once" : "SIGTERM): ended at once");
    PyObject *last = atomic_load(&said), *living = last ? PyTuple_GET_ITEM(last, 1) : NULL;
    if (living && PyDict_CheckExact(living)) {
        /* Read without the lock: it is one number, which another thread may be changing now. */
        Py_ssize_t connections = ((PyDictObject *)living)->ma_used;
        to = put_number(stpcpy(to, ", "), connections);
        to = stpcpy(to, connections == 1 ? " connection cut" : " connections cut");
    }
    if (last)
        to = stpncpy(to, PyBytes_AS_STRING(PyTuple_GET_ITEM(last, 0)), LONGEST / 2);
    *to++ = '\n';
    write_line(STDERR_FILENO, line, (size_t)(to - line));
    _exit(128 + number);
}

static void on_signal(int number)
{
    int saved = errno;
    if (getpid() == owner && atomic_fetch_add(&came, 1) + 1 >= LAST)
        end_process(number);
    python(number);
    errno = saved;
}

/* count(number, groups): begin to count a signal, from 0 if it is the first. Python's handler, which is installed,
 * hears of each but the third, which ends the process, and the process groups of this table. */
static PyObject *count(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int number;
    PyObject *table;
    struct sigaction now;
    if (!PyArg_ParseTuple(arguments, "iO:count", &number, &table) ||
        (!groups.obj && PyObject_GetBuffer(table, &groups, PyBUF_SIMPLE) < 0)) /* it never changes */
        return NULL;
    if (sigaction(number, NULL, &now) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    bool handled = now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN && now.sa_handler != on_signal;
    if (!handled || (now.sa_flags & SA_SIGINFO))
        return PyErr_Format(PyExc_RuntimeError, "Python has no handler of signal %d", number);
    if (owner != getpid())
        atomic_store(&came, 0);
    owner = getpid();
    python = now.sa_handler; /* before sigaction(2): the handler must find it */
    now.sa_handler = on_signal;
    sigfillset(&now.sa_mask); /* no other signal interrupts between the last line and the end */
    if (sigaction(number, &now, NULL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* came(): how many have come since count(). */
static PyObject *how_many(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return PyLong_FromLong(atomic_load(&came));
}

/* say(ending, living): set what the line of the third signal ends with, in octets, and the dict that holds a key for
 * each connection, or None. */
static PyObject *say(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *ending, *dict;
    if (!PyArg_ParseTuple(arguments, "SO:say", &ending, &dict))
        return NULL;
    PyObject *before = atomic_exchange(&said, Py_NewRef(arguments)); /* at once: the handler may run at any time */
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* stop(): count no more. Python then installs other handlers. Idempotent. */
static PyObject *stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    owner = 0;
    PyObject *before = atomic_exchange(&said, NULL);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------------------- tripwires */

#if defined(__linux__) && defined(SIGRTMIN) && defined(SIGEV_THREAD_ID)
#define HAVE_TRIPWIRES 1
#ifndef sigev_notify_thread_id /* glibc has the field, but not its name */
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MOST_WIRES 16 /* the most loops of one process that are watched at a time */

/* A timer that has to be postponed before it fires. */
typedef struct {
    bool open;
    timer_t timer;
    double seconds;
    atomic_int fired; /* how often it fired since it was postponed last */
    char line[LONGEST];
} Wire;

static Wire wires[MOST_WIRES];
static int wire_signal;
static int wire_file; /* where faulthandler writes */
static void (*write_stacks)(int);

static int set_timer(const Wire *wire, double seconds)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)seconds}};
    when.it_value.tv_nsec = (long)((seconds - (double)when.it_value.tv_sec) * 1e9);
    return timer_settime(wire->timer, 0, &when, NULL);
}

static void on_wire(int Py_UNUSED(number), siginfo_t *info, void *Py_UNUSED(context))
{
    int saved = errno;
    if (info->si_code == SI_TIMER && info->si_value.sival_int >= 0 && info->si_value.sival_int < MOST_WIRES) {
        Wire *wire = &wires[info->si_value.sival_int];
        /* The first time proves nothing: the process may have been stopped (SIGSTOP) and just been continued. */
        int before = wire->open ? atomic_fetch_add(&wire->fired, 1) : 2;
        if (!before)
            set_timer(wire, wire->seconds / 2);
        else if (before == 1 && write_line(wire_file, wire->line, strlen(wire->line)))
            write_stacks(wire_signal);
    }
    errno = saved;
}

/* free_signal(): the number of a real-time signal that is not in use, always the same; 0 if there is none. */
static PyObject *free_signal(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    int found = wire_signal;
    for (int number = SIGRTMAX; !found && number >= SIGRTMIN; number--) {
        struct sigaction now;
        if (!sigaction(number, NULL, &now) && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
            found = number;
    }
    return PyLong_FromLong(found);
}

/* string(number, file, line): make a tripwire for the calling thread, and return its number. It writes a line, and then
 * lets faulthandler.register() write stacks, which is installed at this signal and writes into this file. */
static PyObject *string_wire(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int number, file, slot = 0;
    const char *line;
    struct sigaction now;
    if (!PyArg_ParseTuple(arguments, "iiy:string", &number, &file, &line))
        return NULL;
    wire_signal = number;
    wire_file = file;
    /* SA_SIGINFO: on_wire() is installed already. It is never removed: the default action of a late signal would end
     * the process. */
    int status = sigaction(number, NULL, &now);
    if (!status && !(now.sa_flags & SA_SIGINFO)) {
        write_stacks = now.sa_handler;
        now.sa_sigaction = on_wire;
        now.sa_flags |= SA_SIGINFO | SA_RESTART;
        status = sigaction(number, &now, NULL);
    }
    while (slot < MOST_WIRES - 1 && wires[slot].open)
        slot++;
    Wire *wire = &wires[slot];
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
    event.sigev_value.sival_int = slot;
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (status < 0 || wire->open || timer_create(CLOCK_MONOTONIC, &event, &wire->timer) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    snprintf(wire->line, sizeof wire->line, "%s", line);
    wire->open = true;
    return PyLong_FromLong(slot);
}

/* put_off(wire, seconds): start its time again; 0 seconds remove it. */
static PyObject *put_off(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int slot;
    double seconds;
    if (!PyArg_ParseTuple(arguments, "id:put_off", &slot, &seconds))
        return NULL;
    if (slot < 0 || slot >= MOST_WIRES || !wires[slot].open)
        return PyErr_Format(PyExc_ValueError, "there is no tripwire %d", slot);
    Wire *wire = &wires[slot];
    wire->seconds = seconds;
    atomic_store(&wire->fired, 0);
    wire->open = seconds > 0;
    if (wire->open)
        set_timer(wire, seconds);
    else
        timer_delete(wire->timer);
    Py_RETURN_NONE;
}
#endif

/* ------------------------------------------------------------------------------------------------------ the module */

static PyMethodDef methods[] = {
    {"came", how_many, METH_NOARGS, NULL},
    {"count", count, METH_VARARGS, NULL},
    {"say", say, METH_VARARGS, NULL},
    {"stop", stop, METH_NOARGS, NULL},
#ifdef HAVE_TRIPWIRES /* tripwire.py looks whether they are there */
    {"free_signal", free_signal, METH_NOARGS, NULL},
    {"put_off", put_off, METH_VARARGS, NULL},
    {"string", string_wire, METH_VARARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

/* Signals belong to the process, and Python's handlers to the main interpreter. */
FT_MODULE(_signals, 4, "Signals that are counted, and timers that interrupt, while the interpreter's lock is kept.",
          true)
