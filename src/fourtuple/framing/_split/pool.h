/* Small messages that nobody has kept, to be filled again: what one costs beside its octets is mostly its memory, made
 * and given back. Nobody can tell, for whoever looks has a reference, and then a message is not put here.
 */
#ifndef FOURTUPLE_SPLIT_POOL_H
#define FOURTUPLE_SPLIT_POOL_H

#include "compiled.h"

#define POOLED 128       /* messages: with their heads, at most 40 KiB stay */
#define POOLED_SIZE 256  /* octets: of a larger message the memory is the smaller part */

/* One for each interpreter, as its GIL. */
typedef struct {
    int count;
    PyObject *latest[POOLED_SIZE + 1]; /* by size; each leads to the one before */
} Pool;

/* Where a message that is in the pool has the one before: in the place of its hash, which the next octets change. The
 * field is deprecated for those who read the hash there. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
_Static_assert(sizeof(((PyBytesObject *)0)->ob_shash) >= sizeof(PyObject *), "a hash has room for a pointer");

static inline PyObject *pool_before(PyObject *message) { return (PyObject *)((PyBytesObject *)message)->ob_shash; }

static inline void set_hash(PyObject *message, Py_hash_t hash) { ((PyBytesObject *)message)->ob_shash = hash; }
#pragma GCC diagnostic pop

/* A message of `size` octets that may be written; NULL where there is none. */
static inline PyObject *pool_take(Pool *pool, Py_ssize_t size)
{
    if (size > POOLED_SIZE || pool->latest[size] == NULL)
        return NULL;
    PyObject *message = pool->latest[size];
    pool->latest[size] = pool_before(message);
    pool->count--;
    set_hash(message, -1); /* not known yet */
    return message;
}

/* Sizes that are gone for good must not keep out those that come. */
static void pool_empty(Pool *pool)
{
    for (Py_ssize_t size = 0; size <= POOLED_SIZE; size++)
        for (PyObject *message; (message = pool_take(pool, size)) != NULL;)
            Py_DECREF(message);
}

/* Whether nobody else can have a message, and it is worth keeping. Those of one octet, and of none, belong to the
 * interpreter. */
static inline int pool_fits(PyObject *message)
{
#ifdef Py_GIL_DISABLED
    (void)message;
    return 0; /* references are counted in two places there */
#else
    return Py_REFCNT(message) == 1 && PyBytes_CheckExact(message) && PyBytes_GET_SIZE(message) > 1 &&
           PyBytes_GET_SIZE(message) <= POOLED_SIZE;
#endif
}

/* Let a message go that was delivered. */
static inline void pool_give(Pool *pool, PyObject *message)
{
    if (!pool_fits(message)) {
        Py_DECREF(message);
        return;
    }
    if (pool->count == POOLED)
        pool_empty(pool);
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    set_hash(message, (Py_hash_t)pool->latest[size]);
    pool->latest[size] = message;
    pool->count++;
}

#endif
