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

/* A message in the pool keeps the link to the next one in place of its hash, which its next octets change anyway: the
 * first field of a PyBytesObject, whose name is deprecated because it is not for reading. */
_Static_assert(sizeof(Py_hash_t) >= sizeof(PyObject *), "a hash has room for a pointer");
static inline Py_hash_t *pool_link(PyObject *message) { return (Py_hash_t *)((PyVarObject *)message + 1); }

/* A message of `size` octets that may be written; NULL if there is none. */
static inline PyObject *pool_take(Py_ssize_t size)
{
    if (size > POOLED_SIZE || split_pool.latest[size] == NULL)
        return NULL;
    PyObject *message = split_pool.latest[size];
    split_pool.latest[size] = (PyObject *)*pool_link(message);
    split_pool.count--;
    *pool_link(message) = -1; /* a hash that is not known yet */
    return message;
}

/* Empty the pool, so that messages of sizes no longer in use do not occupy it forever. */
static inline void pool_empty(void)
{
    for (Py_ssize_t size = 0; size <= POOLED_SIZE; size++)
        for (PyObject *message; (message = pool_take(size)) != NULL;)
            Py_DECREF(message);
}

/* Drop the reference to a delivered message; keep the message here if there is no other one, and it is worth keeping.
 * The interpreter shares the objects of zero and one octet. */
static inline void pool_give(PyObject *message)
{
#ifndef Py_GIL_DISABLED /* that build counts references in two fields */
    Py_ssize_t size = PyBytes_CheckExact(message) ? PyBytes_GET_SIZE(message) : 0;
    if (Py_REFCNT(message) == 1 && size > 1 && size <= POOLED_SIZE) {
        if (split_pool.count == POOLED)
            pool_empty();
        *pool_link(message) = (Py_hash_t)split_pool.latest[size];
        split_pool.latest[size] = message;
        split_pool.count++;
        return;
    }
#endif
    Py_DECREF(message);
}

#endif
