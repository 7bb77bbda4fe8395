/* How connections on the fast path begin and end. The C does what Acceptor.accept() and Acceptor.ended() do in Python,
 * in the same order. A connection is made of copies, field by field, of the objects in a ConnectionTemplate
 * (serving/connection_template.py).
 *
 *     begin.c   accept(2), the objects of a connection, its entry in the registry
 *     end.c     the end by FIN or RST from the peer, when no work is pending
 *     names.c   the names of connections
 */
#ifndef FOURTUPLE_ACCEPT_H
#define FOURTUPLE_ACCEPT_H

#include "engine/_turn/turn.h"

#include <sys/socket.h>

/* --- base types: the twins are in serving/fields.py --------------------------------------------------------------------- */

#define TEMPLATE_FIELDS(F, T)                                                                                          \
    F(T, by_address) F(T, channel) F(T, channels) F(T, draining) F(T, engine) F(T, epoll) F(T, listeners)              \
    F(T, max_connections) F(T, new_decoder) F(T, new_id) F(T, observer) F(T, on_capacity_freed) F(T, on_deaf)          \
    F(T, on_failed) F(T, registry) F(T, runner) F(T, runners) F(T, stream) F(T, to_close) F(T, watchers)
#define REGISTRY_FIELDS(F, T)                                                                                          \
    F(T, accepted) F(T, _by_name) F(T, _ended) F(T, probes) F(T, runners)

#define TOTALS_FIELDS(F, T)                                                                                            \
    F(T, messages_in) F(T, messages_out) F(T, octets_in) F(T, octets_out)

FT_FIELDS(TemplateFields, TEMPLATE_FIELDS)
FT_FIELDS(TotalsFields, TOTALS_FIELDS)
FT_FIELDS(RegistryFields, REGISTRY_FIELDS)

#define TEMPLATE(object) ((TemplateFields *)(object))
#define TOTALS(object) ((TotalsFields *)(object))
#define REGISTRY(object) ((RegistryFields *)(object))

/* --- objects of Python that the C uses ----------------------------------------------------------------------------------- */

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
extern const Known accept_known_names[];

#define ACCEPT_NAMES(N)                                                                                                \
    N(add) N(enter) N(fd) N(leave) N(local) N(mask) N(on_closed) N(on_failure) N(on_opened) N(update)

extern struct accept_str {
    ACCEPT_NAMES(FT_NAME)
} accept_str;

int accept_start(PyObject *module);

/* --- names.c ------------------------------------------------------------------------------------------------------------- */

/* Return the FourTuple of a packed name, as FourTuple.unpacked() does. */
PyObject *accept_unpacked(PyObject *packed);
/* Return the packed name of an accepted socket; `local` is the listener's packed address, or None. */
PyObject *accept_packed(int fd, PyObject *local, const struct sockaddr_storage *peer);

/* --- begin.c ------------------------------------------------------------------------------------------------------------- */

/* Make an instance of a record's class. The references in `fields` are stolen. If one is NULL, an exception is set, and
 * NULL is returned. */
PyObject *accept_record(PyObject *record, PyObject *const *fields);
/* Add to the number of connections from the peer's address; remove the entry at 0. */
int accept_count_address(PyObject *template, PyObject *name, int more);
/* Call the observer, which may run any code. Steals `event`. */
int accept_tell(PyObject *template, PyObject *event);
/* Whether the service of a runner has this hook set to None. */
bool accept_without(PyObject *runner, PyObject *hook);

PyObject *accept_many(PyObject *module, PyObject *arguments);

/* --- end.c --------------------------------------------------------------------------------------------------------------- */

int accept_peer_ended(PyObject *channel, PyObject *stream, bool reset, PyObject *now);

#endif
