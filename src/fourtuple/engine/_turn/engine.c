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
        StreamFields_add_to, LayerFields_add_to, ChannelFields_add_to, EngineFields_add_to, ConsumerFields_add_to,
        ConnectionFields_add_to, EagerFutureFields_add_to, SparesFields_add_to, Reception_add_to, Done_add_to, Share_add_to,
    };
    for (size_t i = 0; i < sizeof add / sizeof *add; i++)
        if (add[i](module) < 0)
            return -1;
    return 0;
}
