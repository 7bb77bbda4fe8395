/* The base types of the engine's classes, and the Python classes and names that the turn knows. */
#include "engine/_turn/turn.h"

FT_BASE(ChannelFields, CHANNEL_FIELDS, {Py_tp_doc, "The fields of a channel; see fourtuple.engine.fields."})
FT_BASE(EngineFields, ENGINE_FIELDS, {Py_tp_doc, "The fields of an engine; see fourtuple.engine.fields."})
FT_BASE(ConsumerFields, CONSUMER_FIELDS, {Py_tp_doc, "The fields of a consumer; see fourtuple.engine.fields."})
FT_BASE(SparesFields, SPARES_FIELDS, {Py_tp_doc, "The fields of spare tasks; see fourtuple.engine.fields."})
FT_BASE(ConnectionFields, CONNECTION_FIELDS, {Py_tp_doc, "The fields of a connection; see fourtuple.engine.fields."})

struct turn_known turn_known;
struct turn_str str;
PyObject *turn_no_octets, *turn_zero;

#define KNOWN(name, base) {#name, &turn_known.name, base},
const Known turn_known_names[] = {TURN_KNOWN(KNOWN){NULL, NULL, NULL}};

int turn_take_known(const Known *known, PyObject *name, PyObject *value)
{
    while (known->name && PyUnicode_CompareWithASCIIString(name, known->name))
        known++;
    if (!known->name)
        return 0;
    if (known->base && !(PyType_Check(value) && PyType_IsSubtype((PyTypeObject *)value, *known->base))) {
        PyErr_Format(PyExc_TypeError, "%s is %R, which is not a subclass of %s", known->name, value, (*known->base)->tp_name);
        return -1;
    }
    Py_XSETREF(*known->place, Py_NewRef(value));
    return 1;
}

int turn_start(PyObject *module)
{
    static const char *const texts[] = {TURN_NAMES(FT_TEXT)};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        PyObject **place = (PyObject **)&str + i;
        if (!*place && !(*place = PyUnicode_InternFromString(texts[i])))
            return -1;
    }
    if (!turn_no_octets && !(turn_no_octets = PyBytes_FromStringAndSize(NULL, 0)))
        return -1;
    if (!turn_zero && !(turn_zero = PyLong_FromLong(0)))
        return -1;
    static int (*const add[])(PyObject *) = {
        StreamFields_add_to, LayerFields_add_to, ChannelFields_add_to, EngineFields_add_to, ConsumerFields_add_to, ConnectionFields_add_to,
        EagerFutureFields_add_to, Reception_add_to, Done_add_to, Share_add_to,
        SparesFields_add_to,
    };
    for (size_t i = 0; i < sizeof add / sizeof *add; i++)
        if (add[i](module) < 0)
            return -1;
    return 0;
}
