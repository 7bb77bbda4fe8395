/* What the turn in C (engine/_turn/module.c) asks of a decoder without going by way of Python: a capsule of the module.
 *
 * The functions take what their Python namesakes take, and only objects of exactly these types.
 */
#ifndef FOURTUPLE_SPLIT_API_H
#define FOURTUPLE_SPLIT_API_H

#include "framing/_split/pool.h"

#include "compiled.h"

#define SPLIT_API "fourtuple.framing._split.api"
#define SPLIT_API_STAMP 5 /* raised with every change below: two builds that do not fit must not meet */

typedef struct {
    int stamp;
    PyTypeObject *decoder, *splitter;
    Pool *pool;
    PyObject *(*feed)(PyObject *decoder, PyObject *octets, Py_ssize_t limit);
    /* Take octets in, for a feed() of none to cut them: 1; 0 where they are to be fed, -1 with an exception. */
    int (*hold)(PyObject *decoder, PyObject *octets);
    int (*settle)(PyObject *decoder);
    Py_ssize_t (*buffered)(PyObject *decoder);
    /* Whether feed() raises from here on: a broken message is behind those that it gave. */
    int (*failed)(PyObject *decoder);
    /* The octets of a list of messages, or None where Python is to say what is wrong. */
    PyObject *(*encode_many)(PyObject *splitter, PyObject *messages);
    /* The same of one message. */
    PyObject *(*encode_one)(PyObject *splitter, PyObject *message);
    /* The octets that a large message in progress lacks, which can be put straight into their place; 0 where octets are
     * to be fed. */
    Py_ssize_t (*lacks)(PyObject *decoder);
    /* Room for the next `size` of them; NULL with an exception. */
    char *(*place)(PyObject *decoder, Py_ssize_t size);
    /* So many octets were put there. Returns what feed() does. */
    PyObject *(*arrived)(PyObject *decoder, Py_ssize_t count);
} SplitApi;

#endif
