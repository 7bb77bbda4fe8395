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
 * Without this file the first is done between two bytecodes (see counting.py), and the second is not done.
 */

#include "compiled.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STAMP 3 /* see compiled.py: raised when the interface between this file and its Python neighbours changes */

#define LAST 3    /* this signal ends the process */
#define STDERR 2
#define LONGEST 512

/* ------------------------------------------------------------------------------------------------------- one line */

/* Text composed without stdio, which a signal handler must not use (signal-safety(7)). */
typedef struct {
    char octets[LONGEST];
    size_t size;
} Line;

static void put(Line *line, const char *text)
{
    size_t size = strlen(text), room = LONGEST - line->size;
    if (size > room)
        size = room;
    memcpy(line->octets + line->size, text, size);
    line->size += size;
}

static void put_number(Line *line, unsigned long number)
{
    char digits[24], *at = digits + sizeof digits;
    *--at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    put(line, at);
}

/* Whether the descriptor accepts a line now. A full pipe, or a terminal stopped by Ctrl-S, would block write(2). */
static bool takes_a_line(int fd)
{
    struct pollfd file = {.fd = fd, .events = POLLOUT};
    return poll(&file, 1, 0) == 1 && (file.revents & POLLOUT);
}

static void write_out(const Line *line, int fd)
{
    if (takes_a_line(fd) && write(fd, line->octets, line->size) < 0)
        return; /* its reader has gone */
}

/* ------------------------------------------------------------------------------------------------- counting signals */

#define MOST_COUNTED 8

/* A counted signal, and Python's handler of it. */
typedef struct {
    int number;
    struct sigaction pythons;
} Counted;

static Counted counted[MOST_COUNTED];
static int signals;
static atomic_int came;
static pid_t owner; /* a forked child inherits the handlers but must not count */

/* The contents of the last line: the end of the sentence (one buffer is in use while the other may be written), and the
 * dict whose length is the number of connections, or NULL. */
static char endings[2][LONGEST / 2];
static atomic_int ending;
static PyObject *_Atomic living;

static const char *name_of(int number)
{
    return number == SIGINT ? "SIGINT" : number == SIGTERM ? "SIGTERM" : "another";
}

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

/* End the process now. */
static _Noreturn void end_process(int number)
{
    kill_groups();
    Line line = {.size = 0};
    put(&line, "fourtuple: third signal (");
    put(&line, name_of(number));
    put(&line, "): ended at once");
    PyObject *dict = atomic_load(&living);
    if (dict) {
        /* Read without the lock: it is one number, which another thread may be changing now. */
        Py_ssize_t connections = ((PyDictObject *)dict)->ma_used;
        put(&line, ", ");
        put_number(&line, (unsigned long)connections);
        put(&line, connections == 1 ? " connection cut" : " connections cut");
    }
    put(&line, endings[atomic_load(&ending)]);
    put(&line, "\n");
    write_out(&line, STDERR);
    _exit(128 + number);
}

static void on_signal(int number)
{
    int saved = errno;
    if (getpid() == owner && atomic_fetch_add(&came, 1) + 1 >= LAST)
        end_process(number);
    for (int i = 0; i < signals; i++) {
        if (counted[i].number == number)
            counted[i].pythons.sa_handler(number);
    }
    errno = saved;
}

/* Restore Python's handlers, unless another handler was installed since. */
static void stop_counting(void)
{
    for (int i = 0; i < signals; i++) {
        struct sigaction now;
        if (!sigaction(counted[i].number, NULL, &now) && now.sa_handler == on_signal)
            sigaction(counted[i].number, &counted[i].pythons, NULL);
    }
    signals = 0;
    PyBuffer_Release(&groups);
    PyObject *before = atomic_exchange(&living, NULL);
    Py_XDECREF(before);
}

/* count(numbers, groups): begin to count these signals, from 0. Python's handlers, which are installed, hear of each but
 * the third, which ends the process, and the process groups of this table. Raises OSError, and RuntimeError if it has
 * begun. */
static PyObject *count(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *numbers, *table;
    if (!PyArg_ParseTuple(arguments, "O!O:count", &PyTuple_Type, &numbers, &table))
        return NULL;
    if (signals || PyTuple_GET_SIZE(numbers) > MOST_COUNTED) {
        PyErr_SetString(PyExc_RuntimeError, signals ? "signals are counted already" : "too many signals to count");
        return NULL;
    }
    if (PyObject_GetBuffer(table, &groups, PyBUF_SIMPLE) < 0)
        return NULL;
    owner = getpid();
    atomic_store(&came, 0);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(numbers); i++) {
        Counted *next = &counted[signals];
        long number = PyLong_AsLong(PyTuple_GET_ITEM(numbers, i));
        if (number == -1 && PyErr_Occurred())
            goto failed;
        next->number = (int)number;
        if (sigaction(next->number, NULL, &next->pythons) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            goto failed;
        }
        struct sigaction ours = next->pythons;
        if ((ours.sa_flags & SA_SIGINFO) || ours.sa_handler == SIG_DFL || ours.sa_handler == SIG_IGN) {
            PyErr_Format(PyExc_RuntimeError, "Python has no handler of signal %d", next->number);
            goto failed;
        }
        ours.sa_handler = on_signal;
        sigfillset(&ours.sa_mask); /* no other signal interrupts between the last line and the end */
        signals++; /* before sigaction(2): the handler must find the entry */
        if (sigaction(next->number, &ours, NULL) < 0) {
            signals--;
            PyErr_SetFromErrno(PyExc_OSError);
            goto failed;
        }
    }
    Py_RETURN_NONE;
failed:
    stop_counting();
    return NULL;
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
    const char *text;
    Py_ssize_t size;
    PyObject *counted_dict;
    if (!PyArg_ParseTuple(arguments, "y#O:say", &text, &size, &counted_dict))
        return NULL;
    if (!PyDict_CheckExact(counted_dict) && counted_dict != Py_None) {
        PyErr_SetString(PyExc_TypeError, "say() takes bytes, and a dict or None");
        return NULL;
    }
    int next = !atomic_load(&ending);
    if (size >= (Py_ssize_t)sizeof endings[next])
        size = sizeof endings[next] - 1;
    memcpy(endings[next], text, (size_t)size);
    endings[next][size] = 0;
    PyObject *dict = counted_dict == Py_None ? NULL : Py_NewRef(counted_dict);
    PyObject *before = atomic_exchange(&living, dict);
    atomic_store(&ending, next);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* stop(): count no more. Idempotent. */
static PyObject *stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    stop_counting();
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

static void tell_held(const Wire *wire)
{
    unsigned long tenths = (unsigned long)(wire->seconds * 15);
    Line line = {.size = 0};
    put(&line, "fourtuple: a call keeps the interpreter's lock, no other thread has run for ");
    put_number(&line, tenths / 10);
    put(&line, ".");
    put_number(&line, tenths % 10);
    put(&line, " s:\n");
    write_out(&line, wire_file);
    if (takes_a_line(wire_file))
        write_stacks(wire_signal);
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
        else if (before == 1)
            tell_held(wire);
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

/* adopt(number, file): take over the signal at which faulthandler.register() writes stacks into this descriptor. */
static PyObject *adopt(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int number, file;
    if (!PyArg_ParseTuple(arguments, "ii:adopt", &number, &file))
        return NULL;
    struct sigaction now;
    wire_file = file;
    if (sigaction(number, NULL, &now) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    /* SA_SIGINFO: on_wire() is installed already. It is never removed: the default action of a late signal would end
     * the process. */
    if (!(now.sa_flags & SA_SIGINFO)) {
        write_stacks = now.sa_handler;
        now.sa_sigaction = on_wire;
        now.sa_flags |= SA_SIGINFO | SA_RESTART;
        if (sigaction(number, &now, NULL) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
    }
    wire_signal = number;
    Py_RETURN_NONE;
}

/* string(seconds): make a tripwire for the calling thread; -1 if none is free. */
static PyObject *string_wire(PyObject *Py_UNUSED(module), PyObject *seconds)
{
    double time = PyFloat_AsDouble(seconds);
    if (PyErr_Occurred())
        return NULL;
    int slot = 0;
    while (slot < MOST_WIRES && wires[slot].open)
        slot++;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = wire_signal};
    event.sigev_value.sival_int = slot;
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    Wire *wire = &wires[slot];
    if (!wire_signal || slot == MOST_WIRES || timer_create(CLOCK_MONOTONIC, &event, &wire->timer) < 0)
        return PyLong_FromLong(-1);
    wire->seconds = time;
    atomic_store(&wire->fired, 0);
    wire->open = true;
    return PyLong_FromLong(slot);
}

static Wire *wire_of(PyObject *slot)
{
    long number = PyLong_AsLong(slot);
    if (number >= 0 && number < MOST_WIRES && wires[number].open)
        return &wires[number];
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "there is no such tripwire");
    return NULL;
}

/* put_off(wire): start its time again. */
static PyObject *put_off(PyObject *Py_UNUSED(module), PyObject *slot)
{
    Wire *wire = wire_of(slot);
    if (!wire)
        return NULL;
    atomic_store(&wire->fired, 0);
    set_timer(wire, wire->seconds);
    Py_RETURN_NONE;
}

/* cut(wire): remove the tripwire. */
static PyObject *cut(PyObject *Py_UNUSED(module), PyObject *slot)
{
    Wire *wire = wire_of(slot);
    if (!wire)
        return NULL;
    wire->open = false;
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
    {"adopt", adopt, METH_VARARGS, NULL},
    {"cut", cut, METH_O, NULL},
    {"free_signal", free_signal, METH_NOARGS, NULL},
    {"put_off", put_off, METH_O, NULL},
    {"string", string_wire, METH_O, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    /* Signals belong to the process, and Python's handlers to the main interpreter. */
    return ft_check_main_interpreter() < 0 ? -1 : PyModule_AddIntConstant(module, "STAMP", STAMP);
}

FT_MODULE(_signals, FT_MAIN_INTERPRETER, start,
          .m_doc = "Signals that are counted, and timers that interrupt, while the interpreter's lock is kept.")
