/* The functions of a decoder that the turn in C (engine/_turn/) calls without going through Python: a capsule of the
 * module.
 *
 * The functions take the arguments of the Python methods of the same name, and only objects of exactly these types.
 */
#ifndef FOURTUPLE_SPLIT_API_H
#define FOURTUPLE_SPLIT_API_H

#include "framing/_split/pool.h"

#include "compiled.h"

#define SPLIT_API "fourtuple.framing._split.api"
#define SPLIT_API_STAMP 5 /* raised with every change below, so that incompatible builds are not combined */

typedef struct {
    int stamp;
    PyTypeObject *decoder, *splitter;
    Pool *pool;
    PyObject *(*feed)(PyObject *decoder, PyObject *octets, Py_ssize_t limit);
    /* Hold octets; a later feed() of no octets cuts them: 1; 0 if they have to be fed instead, -1 with an exception. */
    int (*hold)(PyObject *decoder, PyObject *octets);
    int (*settle)(PyObject *decoder);
    Py_ssize_t (*buffered)(PyObject *decoder);
    /* Whether feed() may raise, or return messages, though no octets come: an invalid or rare message is next. */
    int (*failed)(PyObject *decoder);
    /* The octets of a list of messages, or None if Python has to encode them or to raise. */
    PyObject *(*encode_many)(PyObject *splitter, PyObject *messages);
    /* The same for one message. */
    PyObject *(*encode_one)(PyObject *splitter, PyObject *message);
    /* How many octets a large message in progress lacks, which recv(2) can write directly into it; 0 if octets have to
     * be fed. */
    Py_ssize_t (*lacks)(PyObject *decoder);
    /* Room for the next `size` of these octets; NULL with an exception. */
    char *(*place)(PyObject *decoder, Py_ssize_t size);
    /* Note that `count` octets were written there. Returns as feed(). */
    PyObject *(*arrived)(PyObject *decoder, Py_ssize_t count);
} SplitApi;

#endif
