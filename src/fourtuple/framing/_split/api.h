/* The splitters, for C that calls them without going through Python: the turn (engine/_turn/).
 *
 * The functions take the arguments of the Python methods of the same name, and only objects of exactly these types.
 */
#ifndef FOURTUPLE_SPLIT_API_H
#define FOURTUPLE_SPLIT_API_H

#include "fields.h"
#include "framing/_split/pool.h"

FT_DECLARE(Decoder)
FT_DECLARE(Splitter)

/* --- of a decoder ------------------------------------------------------------------------------------------------- */

PyObject *split_feed(PyObject *decoder, PyObject *octets, Py_ssize_t limit);
/* Hold octets; a later feed() of no octets cuts them: 1; 0 if they have to be fed instead, -1 with an exception. */
int split_hold(PyObject *decoder, PyObject *octets);
int split_settle(PyObject *decoder);
/* The number of octets that are not decoded yet; -1 with an exception. */
Py_ssize_t split_buffered(PyObject *decoder);
/* Whether feed() may raise, or return messages, though no octets come: an invalid or rare message is next. */
bool split_failed(PyObject *decoder);
/* How many octets a large message in progress lacks, which recv(2) can write directly into it; 0 if octets have to be
 * fed. */
Py_ssize_t split_lacks(PyObject *decoder);
/* Room for the next `size` of these octets; NULL with an exception. */
char *split_place(PyObject *decoder, Py_ssize_t size);
/* Note that `count` octets were written there. Returns as feed(). */
PyObject *split_arrived(PyObject *decoder, Py_ssize_t count);

/* --- of a splitter ------------------------------------------------------------------------------------------------ */

/* The octets of a list of messages, or None if Python has to encode them or to raise. */
PyObject *split_encode_many(PyObject *splitter, PyObject *messages);
/* The same for one message. */
PyObject *split_encode_one(PyObject *splitter, PyObject *message);

#endif
