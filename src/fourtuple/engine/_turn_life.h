/* How a usual connection begins and ends: accept(2), the objects that it consists of, FIN or RST from the peer.
 *
 * What is done here is done in Python by Listener.accept_one(), Server._accept() and Server._channel_ended(), whose
 * order this keeps. The connection is made from the templates of a Mould (mould.py): a copy of each, slot by slot. */
#ifndef FOURTUPLE_TURN_LIFE_H
#define FOURTUPLE_TURN_LIFE_H

#include "_turn_calls.h"
#include "_turn_in.h"
#include "_turn_neighbours.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_OCTETS_OF_NAME 36

static struct {
    PyTypeObject *type;
    Slot by_address, channel, channels, draining, driver, drivers, engine, epoll, graveyard, listeners, max_connections,
        new_decoder, new_id, observer, on_deaf, on_failed, on_room, roster, stream, watchers;
} mould_class;

static struct {
    PyTypeObject *type;
    Slot accepted, by_name, drivers, ended, probes;
} roster_class;

static struct {
    PyTypeObject *type;
    Slot messages_in, messages_out, octets_in, octets_out;
} totals_class;

static struct {
    PyTypeObject *type;
    Slot id, name, transport;
} accepted_class;

static struct {
    PyTypeObject *type;
    Slot id, name, probe, reason, seconds, statistics;
} closed_class;

static struct {
    PyTypeObject *type;
    Slot discarded, inbox, late_replies, messages_in, messages_out, octets_in, octets_out, outbox;
} statistics_class;

static PyTypeObject *four_tuple;
static PyObject *by_the_peer, *by_reset; /* Reason.PEER_CLOSED, Reason.RESET */
static PyObject *half_ended, *half_broken;

PyDoc_STRVAR(know_life_doc, "know_life(Mould, Roster, Totals, Accepted, Closed, Statistics, FourTuple,\n"
                            "          Reason.PEER_CLOSED, Reason.RESET, Half.ENDED, Half.BROKEN)\n--\n\n"
                            "Learn what usual connections are made of, and who is told of them.");

static PyObject *
know_life(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *mould, *roster, *totals, *accepted, *closed, *statistics, *name;
    PyObject *peer, *reset, *ended, *broken;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!O!O!O!OOOO", &PyType_Type, &mould, &PyType_Type, &roster, &PyType_Type,
                          &totals, &PyType_Type, &accepted, &PyType_Type, &closed, &PyType_Type, &statistics,
                          &PyType_Type, &name, &peer, &reset, &ended, &broken))
        return NULL;
    const SlotOf slots[] = {
        {mould, "by_address", &mould_class.by_address},
        {mould, "channel", &mould_class.channel},
        {mould, "channels", &mould_class.channels},
        {mould, "draining", &mould_class.draining},
        {mould, "driver", &mould_class.driver},
        {mould, "drivers", &mould_class.drivers},
        {mould, "engine", &mould_class.engine},
        {mould, "epoll", &mould_class.epoll},
        {mould, "graveyard", &mould_class.graveyard},
        {mould, "listeners", &mould_class.listeners},
        {mould, "max_connections", &mould_class.max_connections},
        {mould, "new_decoder", &mould_class.new_decoder},
        {mould, "new_id", &mould_class.new_id},
        {mould, "observer", &mould_class.observer},
        {mould, "on_deaf", &mould_class.on_deaf},
        {mould, "on_failed", &mould_class.on_failed},
        {mould, "on_room", &mould_class.on_room},
        {mould, "roster", &mould_class.roster},
        {mould, "stream", &mould_class.stream},
        {mould, "watchers", &mould_class.watchers},
        {roster, "accepted", &roster_class.accepted},
        {roster, "_by_name", &roster_class.by_name},
        {roster, "drivers", &roster_class.drivers},
        {roster, "_ended", &roster_class.ended},
        {roster, "probes", &roster_class.probes},
        {totals, "messages_in", &totals_class.messages_in},
        {totals, "messages_out", &totals_class.messages_out},
        {totals, "octets_in", &totals_class.octets_in},
        {totals, "octets_out", &totals_class.octets_out},
        {accepted, "id", &accepted_class.id},
        {accepted, "name", &accepted_class.name},
        {accepted, "transport", &accepted_class.transport},
        {closed, "id", &closed_class.id},
        {closed, "name", &closed_class.name},
        {closed, "probe", &closed_class.probe},
        {closed, "reason", &closed_class.reason},
        {closed, "seconds", &closed_class.seconds},
        {closed, "statistics", &closed_class.statistics},
        {statistics, "discarded", &statistics_class.discarded},
        {statistics, "inbox", &statistics_class.inbox},
        {statistics, "late_replies", &statistics_class.late_replies},
        {statistics, "messages_in", &statistics_class.messages_in},
        {statistics, "messages_out", &statistics_class.messages_out},
        {statistics, "octets_in", &statistics_class.octets_in},
        {statistics, "octets_out", &statistics_class.octets_out},
        {statistics, "outbox", &statistics_class.outbox},
    };
    if (find_slots(slots, sizeof slots / sizeof *slots) < 0)
        return NULL;
    Py_XSETREF(mould_class.type, (PyTypeObject *)Py_NewRef(mould));
    Py_XSETREF(roster_class.type, (PyTypeObject *)Py_NewRef(roster));
    Py_XSETREF(totals_class.type, (PyTypeObject *)Py_NewRef(totals));
    Py_XSETREF(accepted_class.type, (PyTypeObject *)Py_NewRef(accepted));
    Py_XSETREF(closed_class.type, (PyTypeObject *)Py_NewRef(closed));
    Py_XSETREF(statistics_class.type, (PyTypeObject *)Py_NewRef(statistics));
    Py_XSETREF(four_tuple, (PyTypeObject *)Py_NewRef(name));
    Py_XSETREF(by_the_peer, Py_NewRef(peer));
    Py_XSETREF(by_reset, Py_NewRef(reset));
    Py_XSETREF(half_ended, Py_NewRef(ended));
    Py_XSETREF(half_broken, Py_NewRef(broken));
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------------- objects */

/* A new object of a class that has slots and nothing else. */
static inline PyObject *
blank(PyTypeObject *type)
{
    return type->tp_alloc(type, 0);
}

/* A copy of such an object, slot by slot. */
static PyObject *
copy(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *other = blank(type);
    if (!other)
        return NULL;
    for (Slot slot = sizeof(PyObject); slot < type->tp_basicsize; slot += sizeof(PyObject *)) {
        if (slot != type->tp_weaklistoffset)
            *(PyObject **)((char *)other + slot) = Py_XNewRef(get(object, slot));
    }
    return other;
}

/* --------------------------------------------------------------------------------------------------- names */

/* The texts that were made last: one peer comes often, and the local half is that of thousands. */
struct text {
    unsigned char octets[16];
    size_t size;
    PyObject *text;
};

/* An address as FourTuple has it. Returns a new reference. */
static PyObject *
text_of(struct text *last, const unsigned char *octets, size_t size)
{
    if (last->text && last->size == size && !memcmp(last->octets, octets, size))
        return Py_NewRef(last->text);
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291, 2.5.5.2 */
    char text[INET6_ADDRSTRLEN];
    if (size == 16 && !memcmp(octets, mapped, sizeof mapped))
        inet_ntop(AF_INET, octets + 12, text, sizeof text);
    else
        inet_ntop(size == 4 ? AF_INET : AF_INET6, octets, text, sizeof text);
    PyObject *made = PyUnicode_FromString(text);
    if (made) {
        memcpy(last->octets, octets, size);
        last->size = size;
        Py_XSETREF(last->text, Py_NewRef(made));
    }
    return made;
}

static struct text last_local, last_remote;

static inline PyObject *
port_of(const unsigned char *octets)
{
    return PyLong_FromLong(octets[0] << 8 | octets[1]);
}

/* The FourTuple of a packed name: FourTuple.unpacked(). */
static PyObject *
unpacked(PyObject *packed)
{
    const unsigned char *octets = (unsigned char *)PyBytes_AS_STRING(packed);
    size_t half = PyBytes_GET_SIZE(packed) / 2, size = half - 2;
    PyObject *parts[] = {text_of(&last_local, octets, size), port_of(octets + size),
                         text_of(&last_remote, octets + half, size), port_of(octets + half + size)};
    PyObject *name = parts[0] && parts[1] && parts[2] && parts[3] ? four_tuple->tp_alloc(four_tuple, 4) : NULL;
    for (int i = 0; i < 4; i++) {
        if (name)
            PyTuple_SET_ITEM(name, i, parts[i]);
        else
            Py_XDECREF(parts[i]);
    }
    return name;
}

/* Write address and port. Returns the number of octets. */
static size_t
pack(unsigned char *to, const struct sockaddr_storage *from)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *name = (const struct sockaddr_in *)from;
        memcpy(to, &name->sin_addr, 4);
        memcpy(to + 4, &name->sin_port, 2);
        return 6;
    }
    const struct sockaddr_in6 *name = (const struct sockaddr_in6 *)from;
    memcpy(to, &name->sin6_addr, 16);
    memcpy(to + 16, &name->sin6_port, 2);
    return 18;
}

/* The packed name of an accepted socket; `local` is the listener's own half, or None. */
static PyObject *
packed(int fd, PyObject *local, const struct sockaddr_storage *peer)
{
    unsigned char octets[MOST_OCTETS_OF_NAME];
    size_t size;
    if (PyBytes_CheckExact(local) && PyBytes_GET_SIZE(local) <= 18) {
        size = PyBytes_GET_SIZE(local);
        memcpy(octets, PyBytes_AS_STRING(local), size);
    }
    else {
        struct sockaddr_storage name;
        socklen_t length = sizeof name;
        if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        size = pack(octets, &name);
    }
    size += pack(octets + size, peer);
    return PyBytes_FromStringAndSize((char *)octets, size);
}

/* Add to the count of connections of the peer's address; with none left, forget it. */
static int
count_address(PyObject *mould, PyObject *name, int more)
{
    PyObject *by_address = get(mould, mould_class.by_address), *ip = PyTuple_GET_ITEM(name, 2);
    PyObject *before = PyDict_GetItemWithError(by_address, ip);
    if (!before && PyErr_Occurred())
        return -1;
    Py_ssize_t count = (before ? PyLong_AsSsize_t(before) : 0) + more;
    if (count <= 0)
        return before ? PyDict_DelItem(by_address, ip) : 0;
    PyObject *after = PyLong_FromSsize_t(count);
    int status = after ? PyDict_SetItem(by_address, ip, after) : -1;
    Py_XDECREF(after);
    return status;
}

/* -------------------------------------------------------------------------------------------- the beginning */

/* Make all that a connection consists of. Returns the driver, which holds the rest; steals nothing. */
static PyObject *
take_in(PyObject *mould, int fd, PyObject *name, PyObject *now)
{
    PyObject *new_decoder = Py_NewRef(get(mould, mould_class.new_decoder)); /* somebody's own may do anything */
    PyObject *stream = copy(get(mould, mould_class.stream)), *channel = copy(get(mould, mould_class.channel)),
             *driver = copy(get(mould, mould_class.driver)), *number = PyLong_FromLong(fd),
             *id = PyObject_CallNoArgs(get(mould, mould_class.new_id)),
             *decoder = PyObject_CallNoArgs(new_decoder), *pending = PyList_New(0);
    if (stream && channel && driver && number && id && decoder && pending) {
        set(stream, stream_class.name, Py_NewRef(name));
        set(stream, stream_class.decoder, Py_NewRef(decoder));
        set(stream, stream_class.pending, Py_NewRef(pending));
        set(stream, stream_class.opened, Py_NewRef(now));
        set(stream, stream_class.last_activity, Py_NewRef(now));
        set(channel, channel_class.stream, Py_NewRef(stream));
        set(channel, channel_class.socket, Py_NewRef(number));
        set(channel, channel_class.fd, Py_NewRef(number));
        set(channel, channel_class.id, Py_NewRef(id));
        set(channel, channel_class.opened, Py_NewRef(now));
        set(driver, replies_class.channel, Py_NewRef(channel));
        set(driver, replies_class.stream, Py_NewRef(stream));
    }
    else {
        Py_CLEAR(driver);
    }
    Py_DECREF(new_decoder);
    Py_XDECREF(stream);
    Py_XDECREF(channel);
    Py_XDECREF(number);
    Py_XDECREF(id);
    Py_XDECREF(decoder);
    Py_XDECREF(pending);
    return driver;
}

/* Tell the observer, who may do anything. Steals `event`. */
static int
tell(PyObject *mould, PyObject *event)
{
    PyObject *observer = Py_NewRef(get(mould, mould_class.observer));
    int status = event ? done(PyObject_CallOneArg(observer, event)) : -1;
    if (status < 0 && event && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *error = caught();
        status = done(PyObject_CallFunctionObjArgs(get(mould, mould_class.on_deaf), event, error, NULL));
        Py_DECREF(error);
    }
    Py_DECREF(observer);
    Py_XDECREF(event);
    return status;
}

/* Enter the new connection among those who are here, and tell of it. Steals `name`. */
static int
enter(PyObject *mould, PyObject *driver, PyObject *name)
{
    PyObject *roster = get(mould, mould_class.roster), *drivers = get(mould, mould_class.drivers);
    PyObject *id = get(get(driver, replies_class.channel), channel_class.id);
    int status = get(roster, roster_class.by_name) == Py_None ? PyDict_SetItem(drivers, id, driver)
                                                               : done(call1(roster, str_enter, driver));
    if (!status && PyDict_GET_SIZE(drivers) >= PyLong_AsSsize_t(get(mould, mould_class.max_connections)))
        status = done(PyObject_CallNoArgs(get(mould, mould_class.on_room)));
    if (!status)
        status = add(roster, roster_class.accepted, 1);
    PyObject *event = status ? NULL : blank(accepted_class.type);
    if (!event) {
        Py_DECREF(name);
        return -1;
    }
    set(event, accepted_class.id, Py_NewRef(id));
    set(event, accepted_class.name, name);
    set(event, accepted_class.transport, Py_NewRef(Py_None));
    return tell(mould, event);
}

/* Watch for octets, and over the deadlines: Channel.start(). */
static int
begin(PyObject *mould, PyObject *driver, PyObject *channel)
{
    set(channel, channel_class.consumer, Py_NewRef(driver));
    set(channel, channel_class.inlined, Py_NewRef(driver));
    PyObject *engine = get(mould, mould_class.engine), *watchers = get(mould, mould_class.watchers);
    PyObject *sweeper = PyObject_GetAttr(engine, str_sweeper);
    int status = !sweeper             ? -1
                 : sweeper == Py_None ? done(call1(engine, str_add, channel))
                                      : PyDict_SetItem(get(mould, mould_class.channels), channel, Py_None);
    Py_XDECREF(sweeper);
    if (status < 0)
        return -1;
    if (!PyDict_CheckExact(watchers) || PyLong_AsLong(get(channel, channel_class.mask)))
        return done(call0(channel, str_update)); /* or the observer has had it watched already */
    PyObject *fd = get(channel, channel_class.fd);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)PyLong_AsLong(fd)};
    if (epoll_ctl((int)PyLong_AsLong(get(mould, mould_class.epoll)), EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    set(channel, channel_class.mask, PyLong_FromLong(EPOLLIN));
    return PyDict_SetItem(watchers, fd, channel);
}

/* What Server._accept() does with a connection that is usual. Owns the descriptor. */
static int
welcome(PyObject *mould, int fd, PyObject *local, const struct sockaddr_storage *peer, PyObject *now)
{
    PyObject *octets = packed(fd, local, peer), *name = octets ? unpacked(octets) : NULL;
    int counted = name ? count_address(mould, name, 1) : -1;
    PyObject *driver = counted ? NULL : take_in(mould, fd, octets, now);
    if (!driver) {
        PyObject *error = caught();
        close(fd);
        if (!counted && count_address(mould, name, -1) < 0)
            PyErr_Clear();
        if (octets && done(PyObject_CallFunctionObjArgs(get(mould, mould_class.on_failed), octets, error, NULL)) < 0)
            PyErr_Clear();
        raise(error);
        Py_DECREF(error);
        Py_XDECREF(octets);
        Py_XDECREF(name);
        return -1;
    }
    Py_DECREF(octets);
    PyObject *channel = Py_NewRef(get(driver, replies_class.channel));
    int status = enter(mould, driver, name);
    if (!status && get(channel, channel_class.socket) != Py_None) { /* else the observer has ended it */
        status = begin(mould, driver, channel);
        if (status < 0) {
            PyObject *error = caught();
            if (done(call1(channel, str_on_failure, error)) < 0)
                PyErr_Clear();
            raise(error);
            Py_DECREF(error);
        }
    }
    Py_DECREF(channel);
    Py_DECREF(driver);
    return status;
}

/* Whether the service of a driver has no such hook. */
static bool
without(PyObject *driver, PyObject *hook)
{
    PyObject *found = PyObject_GetAttr(get(driver, replies_class.service), hook);
    if (!found)
        PyErr_Clear();
    Py_XDECREF(found);
    return found == Py_None;
}

PyDoc_STRVAR(accept_many_doc,
             "accept_many(mould, listener, most)\n--\n\n"
             "Accept usual connections: at most so many, until there is none, and while the listener is watched.\n\n"
             "Returns how many there were, and the errno of the accept(2) that failed then, or 0.\n"
             "(0, 0) says that connections are not usual now.");

static PyObject *
accept_many(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !mould_class.type || !Py_IS_TYPE(arguments[0], mould_class.type)) {
        PyErr_SetString(PyExc_TypeError, "accept_many() takes a Mould, a Listener and a number");
        return NULL;
    }
    PyObject *mould = arguments[0], *listener = arguments[1];
    long most = PyLong_AsLong(arguments[2]);
    PyObject *number = PyErr_Occurred() ? NULL : PyObject_GetAttr(listener, str_fd);
    PyObject *local = number ? PyObject_GetAttr(listener, str_local) : NULL;
    PyObject *now = local ? PyObject_GetAttr(get(mould, mould_class.engine), str_now) : NULL, *result = NULL;
    int code = 0;
    long taken = 0;
    while (now && taken < most && get(mould, mould_class.driver) != Py_None &&
           without(get(mould, mould_class.driver), str_on_opened)) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4((int)PyLong_AsLong(number), (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR && !PyErr_CheckSignals())
                continue;
            code = errno;
            break;
        }
        taken++;
        if (welcome(mould, fd, local, &peer, now) < 0)
            break;
        PyObject *mask = PyObject_GetAttr(listener, str_mask); /* whoever was told may have paused, or closed */
        bool watched = mask && PyObject_IsTrue(mask) == 1;
        Py_XDECREF(mask);
        if (!watched)
            break;
    }
    if (!PyErr_Occurred())
        result = Py_BuildValue("(li)", taken, code);
    Py_XDECREF(number);
    Py_XDECREF(local);
    Py_XDECREF(now);
    return result;
}

/* -------------------------------------------------------------------------------------------------- the end */

/* Whether nobody but the server's roster knows this connection, and nothing of it is unfinished. (With the mould empty
 * there may be limits that count who is here in another place than by address.) */
static bool
ends_usually(PyObject *channel, PyObject *stream, PyObject *decoder, PyObject *driver)
{
    PyObject *mould = get(channel, channel_class.on_end);
    if (!mould_class.type || !Py_IS_TYPE(mould, mould_class.type) || get(mould, mould_class.draining) != Py_False ||
        get(mould, mould_class.driver) == Py_None || !Py_IS_TYPE(driver, replies_class.type) ||
        get(driver, replies_class.connection) != Py_None || !PyLong_CheckExact(get(channel, channel_class.socket)) ||
        get(stream, stream_class.rare) != Py_None || !splits(decoder) || split->buffered(decoder))
        return false;
    return without(driver, str_on_closed);
}

/* Unregister; the descriptor is closed at the end of the turn. */
static int
bury(PyObject *mould, PyObject *channel)
{
    PyObject *watchers = get(mould, mould_class.watchers), *fd = Py_NewRef(get(channel, channel_class.fd));
    int status = 0;
    if (!PyDict_CheckExact(watchers)) {
        PyObject *readiness = PyObject_GetAttr(get(mould, mould_class.engine), str_readiness);
        PyObject *nothing = PyLong_FromLong(0), *told[] = {readiness, channel, nothing};
        status = readiness && nothing ? done(PyObject_VectorcallMethod(str_watch, told,
                                                                       3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))
                                      : -1;
        Py_XDECREF(readiness);
        Py_XDECREF(nothing);
    }
    else if (PyLong_AsLong(get(channel, channel_class.mask))) {
        /* Explicitly, and before the close: see Nested.watch(). */
        epoll_ctl((int)PyLong_AsLong(get(mould, mould_class.epoll)), EPOLL_CTL_DEL, (int)PyLong_AsLong(fd), NULL);
        set(channel, channel_class.mask, PyLong_FromLong(0));
        status = PyDict_DelItem(watchers, fd);
    }
    if (!status)
        status = PyDict_DelItem(get(mould, mould_class.channels), channel);
    if (!status)
        status = PyList_Append(get(mould, mould_class.graveyard), fd);
    if (!status)
        set(channel, channel_class.socket, Py_NewRef(Py_None));
    Py_DECREF(fd);
    return status;
}

/* The counters of a stream at its end. */
static PyObject *
statistics_of(PyObject *stream)
{
    PyObject *statistics = blank(statistics_class.type);
    if (!statistics)
        return NULL;
    set(statistics, statistics_class.octets_in, Py_NewRef(get(stream, stream_class.octets_in)));
    set(statistics, statistics_class.octets_out, Py_NewRef(get(stream, stream_class.octets_out)));
    set(statistics, statistics_class.messages_in, Py_NewRef(get(stream, stream_class.messages_in)));
    set(statistics, statistics_class.messages_out, Py_NewRef(get(stream, stream_class.messages_out)));
    set(statistics, statistics_class.late_replies, PyLong_FromLong(0)); /* as nothing else that is rare: see above */
    set(statistics, statistics_class.inbox, PyLong_FromLong(0));
    set(statistics, statistics_class.outbox, PyLong_FromLong(0));
    set(statistics, statistics_class.discarded, PyLong_FromLong(0));
    return statistics;
}

static int
add_all(PyObject *totals, PyObject *stream)
{
    const struct {
        Slot to, from;
    } sums[] = {
        {totals_class.octets_in, stream_class.octets_in},
        {totals_class.octets_out, stream_class.octets_out},
        {totals_class.messages_in, stream_class.messages_in},
        {totals_class.messages_out, stream_class.messages_out},
    };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        Py_ssize_t more = PyLong_AsSsize_t(get(stream, sums[i].from));
        if ((more == -1 && PyErr_Occurred()) || add(totals, sums[i].to, more) < 0)
            return -1;
    }
    return 0;
}

/* A place is free: whoever waits for one is let in. */
static int
make_room(PyObject *mould)
{
    PyObject *listeners = get(mould, mould_class.listeners);
    for (Py_ssize_t i = 0; PyList_CheckExact(listeners) && i < PyList_GET_SIZE(listeners); i++) {
        PyObject *mask = PyObject_GetAttr(PyList_GET_ITEM(listeners, i), str_mask);
        int watched = mask ? PyObject_IsTrue(mask) : -1;
        Py_XDECREF(mask);
        if (watched < 0)
            return -1;
        if (!watched)
            return done(PyObject_CallNoArgs(get(mould, mould_class.on_room)));
    }
    return 0;
}

/* What Server._channel_ended() does. */
static int
leave(PyObject *mould, PyObject *channel, PyObject *stream, PyObject *reason, PyObject *now)
{
    PyObject *roster = get(mould, mould_class.roster), *id = get(channel, channel_class.id);
    int status = get(roster, roster_class.by_name) == Py_None ? PyDict_DelItem(get(mould, mould_class.drivers), id)
                                                               : done(call1(roster, str_leave, id));
    PyObject *kept = get(stream, stream_class.name);
    PyObject *name = status < 0 ? NULL : PyBytes_CheckExact(kept) ? unpacked(kept) : Py_NewRef(kept);
    if (!name)
        return -1;
    bool probe = !PyLong_AsSsize_t(get(stream, stream_class.octets_in)) &&
                 !PyLong_AsSsize_t(get(stream, stream_class.octets_out));
    PyObject *statistics = statistics_of(stream), *event = blank(closed_class.type);
    PyObject *seconds =
        PyFloat_FromDouble(PyFloat_AsDouble(now) - PyFloat_AsDouble(get(channel, channel_class.opened)));
    if (!statistics || !event || !seconds || PyErr_Occurred() || count_address(mould, name, -1) < 0 ||
        add_all(get(roster, roster_class.ended), stream) < 0 || add(roster, roster_class.probes, probe) < 0) {
        Py_DECREF(name);
        Py_XDECREF(statistics);
        Py_XDECREF(seconds);
        Py_XDECREF(event);
        return -1;
    }
    set(event, closed_class.id, Py_NewRef(id));
    set(event, closed_class.name, name);
    set(event, closed_class.reason, Py_NewRef(reason));
    set(event, closed_class.statistics, statistics);
    set(event, closed_class.seconds, seconds);
    set(event, closed_class.probe, Py_NewRef(probe ? Py_True : Py_False));
    status = tell(mould, event);
    return status < 0 ? -1 : make_room(mould);
}

/* The peer has sent FIN, or RST, and nothing is left to do but to let it go. Returns 1 when that is done, 0 when Python
 * is to do it, -1 with an exception. */
static int
end(PyObject *channel, PyObject *stream, PyObject *decoder, bool reset, PyObject *now)
{
    PyObject *driver = get(channel, channel_class.consumer);
    if (!ends_usually(channel, stream, decoder, driver))
        return 0;
    PyObject *mould = Py_NewRef(get(channel, channel_class.on_end)), *how = reset ? half_broken : half_ended;
    PyObject *reason = reset ? by_reset : by_the_peer;
    set(stream, stream_class.reading, Py_NewRef(how));
    set(stream, stream_class.writing, Py_NewRef(how));
    set(stream, stream_class.closing, Py_NewRef(Py_True));
    set(stream, stream_class.reason, Py_NewRef(reason));
    Py_INCREF(driver);
    if (!reset) /* and not by close() alone: a forked child may have the descriptor, too */
        shutdown((int)PyLong_AsLong(get(channel, channel_class.fd)), SHUT_WR);
    int status = bury(mould, channel);
    if (!status)
        status = leave(mould, channel, stream, reason, now);
    /* Nobody asks any more who consumed: without the circle both go at once, and not when the collector comes. */
    set(channel, channel_class.consumer, Py_NewRef(Py_None));
    set(channel, channel_class.inlined, Py_NewRef(Py_None));
    Py_DECREF(driver);
    Py_DECREF(mould);
    return status < 0 ? -1 : 1;
}

PyDoc_STRVAR(close_last_doc, "close_last(graveyard)\n--\n\n"
                             "Close the descriptors at the end of a list, from the last on, until one is an object.");

static PyObject *
close_last(PyObject *Py_UNUSED(module), PyObject *graveyard)
{
    if (!PyList_CheckExact(graveyard)) {
        PyErr_SetString(PyExc_TypeError, "close_last() takes a list");
        return NULL;
    }
    Py_ssize_t size = PyList_GET_SIZE(graveyard), left = size;
    while (left && PyLong_CheckExact(PyList_GET_ITEM(graveyard, left - 1)))
        close((int)PyLong_AsLong(PyList_GET_ITEM(graveyard, --left)));
    return PyList_SetSlice(graveyard, left, size, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

#endif
