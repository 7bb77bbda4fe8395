/* Usual connections: what they are made of, and who is told of them. See begin.h and end.h.
 *
 * What is done there is done in Python by Listener.accept_one(), Acceptor.accept() and Acceptor.ended(), whose
 * order they keep. A connection is made from the templates of a ConnectionTemplate (serving/connection_template.py): a
 * copy of each, slot by slot. */
#ifndef FOURTUPLE_TURN_LIFE_H
#define FOURTUPLE_TURN_LIFE_H

#include "calls.h"
#include "names.h"
#include "neighbours.h"

#include <stdbool.h>

static struct {
    PyTypeObject *type;
    Slot by_address, channel, channels, draining, runner, runners, engine, epoll, to_close, listeners, max_connections,
        new_decoder, new_id, observer, on_deaf, on_failed, on_capacity_freed, registry, stream, watchers;
} template_class;

static struct {
    PyTypeObject *type;
    Slot accepted, by_name, runners, ended, probes;
} registry_class;

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

static PyObject *by_the_peer, *by_reset; /* Reason.PEER_CLOSED, Reason.RESET */
static PyObject *half_ended, *half_broken;

PyDoc_STRVAR(know_life_doc, "know_life(ConnectionTemplate, Registry, Totals, Accepted, Closed, Statistics, FourTuple,\n"
                            "          Reason.PEER_CLOSED, Reason.RESET, Half.ENDED, Half.BROKEN)\n--\n\n"
                            "Learn what usual connections are made of, and who is told of them.");

static PyObject *
know_life(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyTypeObject *template, *registry, *totals, *accepted, *closed, *statistics, *name;
    PyObject *peer, *reset, *ended, *broken;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!O!O!O!OOOO", &PyType_Type, &template, &PyType_Type, &registry, &PyType_Type,
                          &totals, &PyType_Type, &accepted, &PyType_Type, &closed, &PyType_Type, &statistics,
                          &PyType_Type, &name, &peer, &reset, &ended, &broken))
        return NULL;
    const SlotOf slots[] = {
        {template, "by_address", &template_class.by_address},
        {template, "channel", &template_class.channel},
        {template, "channels", &template_class.channels},
        {template, "draining", &template_class.draining},
        {template, "runner", &template_class.runner},
        {template, "runners", &template_class.runners},
        {template, "engine", &template_class.engine},
        {template, "epoll", &template_class.epoll},
        {template, "to_close", &template_class.to_close},
        {template, "listeners", &template_class.listeners},
        {template, "max_connections", &template_class.max_connections},
        {template, "new_decoder", &template_class.new_decoder},
        {template, "new_id", &template_class.new_id},
        {template, "observer", &template_class.observer},
        {template, "on_deaf", &template_class.on_deaf},
        {template, "on_failed", &template_class.on_failed},
        {template, "on_capacity_freed", &template_class.on_capacity_freed},
        {template, "registry", &template_class.registry},
        {template, "stream", &template_class.stream},
        {template, "watchers", &template_class.watchers},
        {registry, "accepted", &registry_class.accepted},
        {registry, "_by_name", &registry_class.by_name},
        {registry, "runners", &registry_class.runners},
        {registry, "_ended", &registry_class.ended},
        {registry, "probes", &registry_class.probes},
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
    Py_XSETREF(template_class.type, (PyTypeObject *)Py_NewRef(template));
    Py_XSETREF(registry_class.type, (PyTypeObject *)Py_NewRef(registry));
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

/* Add to the count of connections of the peer's address; with none left, forget it. */
static int
count_address(PyObject *template, PyObject *name, int more)
{
    PyObject *by_address = get(template, template_class.by_address), *ip = PyTuple_GET_ITEM(name, 2);
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

/* Tell the observer, who may do anything. Steals `event`. */
static int
tell(PyObject *template, PyObject *event)
{
    PyObject *observer = Py_NewRef(get(template, template_class.observer));
    int status = event ? done(PyObject_CallOneArg(observer, event)) : -1;
    if (status < 0 && event && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *error = caught();
        status = done(PyObject_CallFunctionObjArgs(get(template, template_class.on_deaf), event, error, NULL));
        Py_DECREF(error);
    }
    Py_DECREF(observer);
    Py_XDECREF(event);
    return status;
}

/* Whether the service of a runner has no such hook. */
static bool
without(PyObject *runner, PyObject *hook)
{
    PyObject *found = PyObject_GetAttr(get(runner, replies_class.service), hook);
    if (!found)
        PyErr_Clear();
    Py_XDECREF(found);
    return found == Py_None;
}

#endif
