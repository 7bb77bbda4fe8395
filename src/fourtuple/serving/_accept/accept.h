/* How usual connections begin and end: what the server's Python does in Acceptor.accept() and Acceptor.ended(), in their
 * order. A connection is made from the templates of a ConnectionTemplate (serving/connection_template.py): a copy of each,
 * field by field.
 *
 *     begin.c   accept(2), the objects that a connection consists of, its place among the others
 *     end.c     FIN or RST from the peer, and nothing is left to do
 *     names.c   the names of connections
 */
#ifndef FOURTUPLE_ACCEPT_H
#define FOURTUPLE_ACCEPT_H

#include "engine/_turn/turn.h"

#include <sys/socket.h>

/* --- base types: the twins are in serving/fields.py --------------------------------------------------------------------- */

#define TEMPLATE_FIELDS(F)                                                                                             \
    F(by_address, "by_address") F(channel, "channel") F(channels, "channels") F(draining, "draining")                  \
    F(engine, "engine") F(epoll, "epoll") F(listeners, "listeners") F(max_connections, "max_connections")              \
    F(new_decoder, "new_decoder") F(new_id, "new_id") F(observer, "observer")                                          \
    F(on_capacity_freed, "on_capacity_freed") F(on_deaf, "on_deaf") F(on_failed, "on_failed") F(registry, "registry")  \
    F(runner, "runner") F(runners, "runners") F(stream, "stream") F(to_close, "to_close") F(watchers, "watchers")
#define REGISTRY_FIELDS(F)                                                                                             \
    F(accepted, "accepted") F(by_name, "_by_name") F(ended, "_ended") F(probes, "probes") F(runners, "runners")

#define TOTALS_FIELDS(F)                                                                                               \
    F(messages_in, "messages_in") F(messages_out, "messages_out") F(octets_in, "octets_in") F(octets_out, "octets_out")

FT_FIELDS(TemplateFields, TEMPLATE_FIELDS)
FT_FIELDS(TotalsFields, TOTALS_FIELDS)
FT_FIELDS(RegistryFields, REGISTRY_FIELDS)

#define TEMPLATE(object) ((TemplateFields *)(object))
#define TOTALS(object) ((TotalsFields *)(object))
#define REGISTRY(object) ((RegistryFields *)(object))

/* --- what is known of Python --------------------------------------------------------------------------------------------- */

/* A record is a tuple: a frozen dataclass with slots, and their descriptors in the order of its fields. */
#define ACCEPT_KNOWN(K)                                                                                                \
    K(ConnectionTemplate, &TemplateFields_type)                                                                        \
    K(FourTuple, NULL)                                                                                                 \
    K(accepted, NULL)   /* the record of events.Accepted */                                                            \
    K(closed, NULL)     /* of events.Closed */                                                                         \
    K(statistics, NULL) /* of Statistics */                                                                            \
    K(PEER_CLOSED, NULL)                                                                                               \
    K(RESET, NULL)                                                                                                     \
    K(ENDED, NULL)                                                                                                     \
    K(BROKEN, NULL)

extern struct accept_known {
    ACCEPT_KNOWN(FT_KNOWN)
} accept_known;
extern const Known accept_known_names[];

#define ACCEPT_NAMES(N)                                                                                                \
    N(_sweeper) N(add) N(enter) N(fd) N(leave) N(local) N(mask) N(on_closed) N(on_failure) N(on_opened)                \
    N(readiness) N(update) N(watch)

extern struct accept_str {
    ACCEPT_NAMES(FT_NAME)
} accept_str;

int accept_start(PyObject *module);

/* --- names.c ------------------------------------------------------------------------------------------------------------- */

/* The FourTuple of a packed name: FourTuple.unpacked(). */
PyObject *accept_unpacked(PyObject *packed);
/* The packed name of an accepted socket; `local` is the listener's own half, or None. */
PyObject *accept_packed(int fd, PyObject *local, const struct sockaddr_storage *peer);

/* --- begin.c ------------------------------------------------------------------------------------------------------------- */

/* Make a record of its fields, whose references are stolen; NULL among them is the exception that it is. */
PyObject *accept_record(PyObject *record, PyObject *const *fields);
/* Add to the count of connections of the peer's address; with none left, forget it. */
int accept_count_address(PyObject *template, PyObject *name, int more);
/* Tell the observer, who may do anything. Steals `event`. */
int accept_tell(PyObject *template, PyObject *event);
/* Whether the service of a runner has no such hook. */
bool accept_without(PyObject *runner, PyObject *hook);

PyObject *accept_many(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
extern const char accept_many_doc[];

/* --- end.c --------------------------------------------------------------------------------------------------------------- */

int accept_peer_ended(PyObject *channel, PyObject *stream, bool reset, PyObject *now);
PyObject *accept_close_last(PyObject *module, PyObject *to_close);
extern const char accept_close_last_doc[];

#endif
