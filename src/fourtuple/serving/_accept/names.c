/* The names of connections: packed, as most are stored, and as the FourTuple that users see. Twin: four_tuple.py. */
#include "serving/_accept/accept.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define MOST_OCTETS_OF_NAME 36

/* The latest text: a peer often connects several times in a row, and thousands of connections share the local half. */
struct text {
    unsigned char octets[16];
    size_t size;
    PyObject *text;
};

/* Return an address as text, as in a FourTuple: a new reference. */
static PyObject *text_of(struct text *last, const unsigned char *octets, size_t size)
{
    if (last->text && last->size == size && !memcmp(last->octets, octets, size))
        return Py_NewRef(last->text);
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291, 2.5.5.2 */
    char text[INET6_ADDRSTRLEN];
    if (size == 16 && !memcmp(octets, mapped, sizeof mapped))
        inet_ntop(AF_INET, octets + 12, text, sizeof text);
    else
        inet_ntop(size == 4 ? AF_INET : AF_INET6, octets, text, sizeof text);
    PyObject *made = PyUnicode_FromString(text);
    if (made) {
        memcpy(last->octets, octets, size);
        last->size = size;
        Py_XSETREF(last->text, Py_NewRef(made));
    }
    return made;
}

PyObject *accept_unpacked(PyObject *packed)
{
    const unsigned char *octets = (unsigned char *)PyBytes_AS_STRING(packed);
    size_t size = PyBytes_GET_SIZE(packed) / 2 - 2;
    static struct text latest[2]; /* local and remote */
    PyTypeObject *type = (PyTypeObject *)accept_known.FourTuple;
    PyObject *name = type->tp_alloc(type, 4);
    for (int half = 0; name && half < 2; half++, octets += size + 2) {
        PyObject *address = text_of(&latest[half], octets, size);
        PyObject *port = PyLong_FromLong(octets[size] << 8 | octets[size + 1]);
        PyTuple_SET_ITEM(name, 2 * half, address);
        PyTuple_SET_ITEM(name, 2 * half + 1, port);
        if (!address || !port)
            Py_CLEAR(name);
    }
    return name;
}

/* Write the address and the port; return the number of octets. */
static size_t pack(unsigned char *to, const struct sockaddr_storage *from)
{
    bool four = from->ss_family == AF_INET;
    size_t size = four ? 4 : 16;
    size_t at = four ? offsetof(struct sockaddr_in, sin_addr) : offsetof(struct sockaddr_in6, sin6_addr);
    memcpy(to, (const char *)from + at, size);
    memcpy(to + size, &((const struct sockaddr_in *)from)->sin_port, 2); /* at the same place in both */
    return size + 2;
}

PyObject *accept_packed(int fd, PyObject *local, const struct sockaddr_storage *peer)
{
    unsigned char octets[MOST_OCTETS_OF_NAME];
    size_t size;
    if (PyBytes_CheckExact(local) && PyBytes_GET_SIZE(local) <= 18) {
        size = PyBytes_GET_SIZE(local);
        memcpy(octets, PyBytes_AS_STRING(local), size);
    }
    else {
        struct sockaddr_storage name;
        socklen_t length = sizeof name;
        if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        size = pack(octets, &name);
    }
    size += pack(octets + size, peer);
    return PyBytes_FromStringAndSize((char *)octets, size);
}
