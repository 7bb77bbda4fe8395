/* Small messages without any other reference, to be filled again: allocating and freeing its memory is most of the cost
 * of a small message. No code can notice the reuse: an object to which anything else refers is not put here.
 */
#ifndef FOURTUPLE_SPLIT_POOL_H
#define FOURTUPLE_SPLIT_POOL_H

#include "compiled.h"

#define POOLED 128       /* messages; with their object headers at most 40 KiB */
#define POOLED_SIZE 256  /* octets; for larger messages, allocation is the smaller part of the cost */

extern struct pool {
    int count;
    PyObject *latest[POOLED_SIZE + 1]; /* by size; each is the head of a linked list */
} split_pool;

/* A message in the pool keeps the link to the next one in place of its hash, which its next octets change anyway. The
 * field is deprecated only for reading the hash. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
_Static_assert(sizeof(((PyBytesObject *)0)->ob_shash) >= sizeof(PyObject *), "a hash has room for a pointer");

static inline PyObject *pool_before(PyObject *message) { return (PyObject *)((PyBytesObject *)message)->ob_shash; }

static inline void set_hash(PyObject *message, Py_hash_t hash) { ((PyBytesObject *)message)->ob_shash = hash; }
#pragma GCC diagnostic pop

/* A message of `size` octets that may be written; NULL if there is none. */
static inline PyObject *pool_take(Py_ssize_t size)
{
    if (size > POOLED_SIZE || split_pool.latest[size] == NULL)
        return NULL;
    PyObject *message = split_pool.latest[size];
    split_pool.latest[size] = pool_before(message);
    split_pool.count--;
    set_hash(message, -1); /* not known yet */
    return message;
}

/* Empty the pool, so that messages of sizes no longer in use do not occupy it forever. */
static inline void pool_empty(void)
{
    for (Py_ssize_t size = 0; size <= POOLED_SIZE; size++)
        for (PyObject *message; (message = pool_take(size)) != NULL;)
            Py_DECREF(message);
}

/* Drop the reference to a delivered message; keep the message here if there is no other one, and it is worth keeping. The
 * interpreter shares the objects of zero and one octet. */
static inline void pool_give(PyObject *message)
{
#ifndef Py_GIL_DISABLED /* that build counts references in two fields */
    Py_ssize_t size = PyBytes_CheckExact(message) ? PyBytes_GET_SIZE(message) : 0;
    if (Py_REFCNT(message) == 1 && size > 1 && size <= POOLED_SIZE) {
        if (split_pool.count == POOLED)
            pool_empty();
        set_hash(message, (Py_hash_t)split_pool.latest[size]);
        split_pool.latest[size] = message;
        split_pool.count++;
        return;
    }
#endif
    Py_DECREF(message);
}

#endif
