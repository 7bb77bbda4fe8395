/* The module of the fast path: the splitters, the base types of a connection's classes, and the C that accepts, serves
 * and ends it.
 *
 *     framing/_split/   octets to messages, messages to octets
 *     stream/_fields/   the fields of a stream
 *     engine/_turn/     the turn, and its base types
 *     serving/_accept/  the beginning and end of connections on the fast path
 *
 * It is imported before these packages, because their classes derive from its types. They register by know().
 */
#include "compiled.h"
#include "engine/_turn/turn.h"
#include "framing/_split/api.h"
#include "serving/_accept/accept.h"

#define OF_TURN(name, base) {#name, &turn_known.name, base},
#define OF_ACCEPT(name, base) {#name, &accept_known.name, base},
static const struct known {
    const char *name;
    PyObject **place;
    PyTypeObject **base;
} known_names[] = {TURN_KNOWN(OF_TURN) ACCEPT_KNOWN(OF_ACCEPT){NULL, NULL, NULL}};

static const char know_doc[] = "know(**named)\n--\n\n"
                               "Learn classes and constants of Python by their names; without those that it needs, C\n"
                               "declines everything. Raises TypeError for an unknown name, or a class of another base.";

static PyObject *know(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none), PyObject *named)
{
    PyObject *name, *value;
    for (Py_ssize_t at = 0; named && PyDict_Next(named, &at, &name, &value);) {
        const struct known *known = known_names;
        while (known->name && PyUnicode_CompareWithASCIIString(name, known->name))
            known++;
        if (!known->name)
            return PyErr_Format(PyExc_TypeError, "know() asks for no %R", name);
        if (known->base && !(PyType_Check(value) && PyType_IsSubtype((PyTypeObject *)value, *known->base)))
            return PyErr_Format(PyExc_TypeError, "%s is %R, which is not a subclass of %s", known->name, value,
                                (*known->base)->tp_name);
        Py_XSETREF(*known->place, Py_NewRef(value));
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"accept_one", FT_FAST(accept_one), METH_FASTCALL, NULL},
    {"connection_method", turn_connection_method, METH_VARARGS, NULL},
    {"know", FT_FAST(know), METH_VARARGS | METH_KEYWORDS, know_doc},
    {"poll", FT_FAST(turn_poll), METH_FASTCALL, NULL},
    {"send", FT_FAST(turn_send), METH_FASTCALL, NULL},
    {"serve_many", FT_FAST(turn_serve_many), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

FT_MODULE(_fast_path, 47, "The usual turn of a connection, and the splitters, in C.",
          !Splitter_add_to(module) && !Decoder_add_to(module) && !turn_start(module) && !TemplateFields_add_to(module))
