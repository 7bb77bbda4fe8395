/* How connections on the fast path begin and end: what Acceptor.accept() and Acceptor.ended() do in Python, in the same
 * order. The C has the system calls and makes the objects; ConnectionTemplate (serving/connection_template.py) counts
 * and tells the observer.
 *
 *     begin.c   accept(2), and the objects of a connection: copies, field by field, of those in the template
 *     end.c     the end by FIN or RST from the peer, when no work is pending
 *     names.c   the names of connections
 */
#ifndef FOURTUPLE_ACCEPT_H
#define FOURTUPLE_ACCEPT_H

#include "engine/_turn/turn.h"

#include <sys/socket.h>

/* The twin of this base type is in serving/fields.py. */
#define TEMPLATE_FIELDS(F, T)                                                                                          \
    F(T, channel) F(T, channels) F(T, draining) F(T, epoll) F(T, new_decoder) F(T, new_id) F(T, on_failed)             \
    F(T, runner) F(T, stream) F(T, to_close) F(T, watchers)

FT_FIELDS(TemplateFields, TEMPLATE_FIELDS)

#define TEMPLATE(object) ((TemplateFields *)(object))

/* --- objects of Python that the C uses ---------------------------------------------------------------------------- */

/* A record is a tuple: a frozen dataclass with slots, then the descriptors of its slots in the order of its fields. */
#define ACCEPT_KNOWN(K)                                                                                                \
    K(ConnectionTemplate, &TemplateFields_type)                                                                        \
    K(FourTuple, NULL)                                                                                                 \
    K(accepted, NULL)   /* the record of events.Accepted */                                                            \
    K(closed, NULL)     /* the record of events.Closed */                                                              \
    K(statistics, NULL) /* the record of Statistics */                                                                 \
    K(PEER_CLOSED, NULL)                                                                                               \
    K(RESET, NULL)                                                                                                     \
    K(ENDED, NULL)                                                                                                     \
    K(BROKEN, NULL)

extern struct accept_known {
    ACCEPT_KNOWN(FT_KNOWN)
} accept_known;

/* --- names.c ------------------------------------------------------------------------------------------------------ */

/* Return the FourTuple of a packed name, as FourTuple.unpacked() does. */
PyObject *accept_unpacked(PyObject *packed);
/* Return the packed name of an accepted socket; `local` is the listener's packed address, or None. */
PyObject *accept_packed(int fd, PyObject *local, const struct sockaddr_storage *peer);

/* --- begin.c ------------------------------------------------------------------------------------------------------ */

/* Make an instance of a record's class: in Python, that would take longer than all the rest. */
PyObject *accept_record(PyObject *record, PyObject *const *fields);
PyObject *accept_one(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
