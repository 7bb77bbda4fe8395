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

static const char know_doc[] = "know(**named)\n--\n\n"
                               "Learn classes and constants of Python by their names; without those that it needs, C\n"
                               "declines everything. Raises TypeError for an unknown name, or a class of another base.";

static PyObject *know(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    if (count || !names) {
        PyErr_SetString(PyExc_TypeError, "know() takes values by their names");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int taken = turn_take_known(turn_known_names, name, arguments[i]);
        if (!taken)
            taken = turn_take_known(accept_known_names, name, arguments[i]);
        if (!taken)
            PyErr_Format(PyExc_TypeError, "know() asks for no %R", name);
        if (taken <= 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"accept_one", accept_one, METH_VARARGS, NULL},
    {"connection_method", turn_connection_method, METH_VARARGS, NULL},
    {"know", FT_FAST(know), METH_FASTCALL | METH_KEYWORDS, know_doc},
    {"poll", turn_poll, METH_VARARGS, NULL},
    {"run", FT_FAST(turn_run), METH_FASTCALL, NULL},
    {"send", FT_FAST(turn_send), METH_FASTCALL, NULL},
    {"serve_many", turn_serve_many, METH_VARARGS, NULL},
#ifdef FOURTUPLE_COUNT
    {"work", split_work, METH_NOARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

FT_MODULE(_fast_path, 36, "The usual turn of a connection, and the splitters, in C.",
          !split_start(module) && !turn_start(module) && !accept_start(module))
