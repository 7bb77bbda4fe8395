/* The floor that does a message server's work: it splits what was read, stores every message on its own, answers
 * each with a new value, and sends all answers of one read at once.
 *
 *     split fixed:16 | line | u32
 */
#include "floor.h"

enum framing { FIXED, LINE, U32 };

static enum framing framing;
static size_t fixed_size;

struct connection {
    int fd, waiting;
    char *in, *out;
    size_t in_size, in_room, out_sent, out_size, out_room;
};

static void make_room(char **buffer, size_t *room, size_t size)
{
    if (size <= *room)
        return;
    size_t larger = *room ? *room : 4096;
    while (larger < size)
        larger *= 2;
    *buffer = must(realloc(*buffer, larger));
    *room = larger;
}

/* The handler: a new value, the message turned by one octet. */
static char *handle(const char *message, size_t size)
{
    char *reply = must(malloc(size ? size : 1));
    if (size) {
        memcpy(reply, message + 1, size - 1);
        reply[size - 1] = message[0];
    }
    return reply;
}

static void answer(struct connection *c, const char *octets, size_t size)
{
    char *message = must(malloc(size ? size : 1));
    memcpy(message, octets, size);
    char *reply = handle(message, size);
    free(message);
    make_room(&c->out, &c->out_room, c->out_size + size + 5);
    char *out = c->out + c->out_size;
    if (framing == U32) {
        uint32_t length = htonl((uint32_t)size);
        memcpy(out, &length, 4);
        out += 4;
    }
    memcpy(out, reply, size);
    out += size;
    if (framing == LINE)
        *out++ = '\n';
    c->out_size = out - c->out;
    free(reply);
}

/* Answer all whole messages; keep the rest. Returns how many octets the message in progress needs at least. */
static size_t split(struct connection *c)
{
    size_t used = 0, wanted = 0;
    for (;;) {
        char *at = c->in + used;
        size_t left = c->in_size - used, head = 0, size = 0, tail = 0;
        if (framing == FIXED) {
            size = fixed_size;
        } else if (framing == LINE) {
            char *end = left ? memchr(at, '\n', left) : NULL;
            size = end ? (size_t)(end - at) : left + 1;
            tail = 1;
        } else {
            uint32_t length = 0;
            head = 4;
            if (left >= 4)
                memcpy(&length, at, 4);
            size = left >= 4 ? ntohl(length) : 0;
        }
        if (left < head + size + tail || left < head) {
            wanted = head + size + tail;
            break;
        }
        answer(c, at + head, size);
        used += head + size + tail;
    }
    c->in_size -= used;
    if (c->in_size && used)
        memmove(c->in, c->in + used, c->in_size);
    return wanted;
}

static void end(struct connection *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

/* Send what is there. Returns 0 when the connection has ended. */
static int flush(int epoll, struct connection *c)
{
    while (c->out_sent < c->out_size) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!c->waiting)
                watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
            c->waiting = 1;
            return 1;
        }
        if (sent < 0)
            return 0;
        c->out_sent += sent;
    }
    if (c->waiting)
        watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    c->waiting = 0;
    c->out_sent = c->out_size = 0;
    return 1;
}

static int serve(int epoll, struct connection *c, uint32_t events)
{
    static char buffer[READ_SIZE];
    if (events & EPOLLOUT)
        return flush(epoll, c);
    ssize_t size;
    if (c->in_room > READ_SIZE && c->in_size) {
        /* A large message: straight to its place. */
        size = recv(c->fd, c->in + c->in_size, c->in_room - c->in_size, 0);
    } else {
        size = recv(c->fd, buffer, sizeof buffer, 0);
        if (size > 0) {
            make_room(&c->in, &c->in_room, c->in_size + size);
            memcpy(c->in + c->in_size, buffer, size);
        }
    }
    if (size < 0)
        return errno == EAGAIN;
    if (size == 0)
        return 0;
    c->in_size += size;
    size_t wanted = split(c);
    if (c->in_size)
        make_room(&c->in, &c->in_room, wanted);
    return c->out_size ? flush(epoll, c) : 1;
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    if (sscanf(name, "fixed:%zu", &fixed_size) == 1 && fixed_size)
        framing = FIXED;
    else if (strcmp(name, "line") == 0)
        framing = LINE;
    else if (strcmp(name, "u32") == 0)
        framing = U32;
    else {
        fprintf(stderr, "split fixed:N | line | u32\n");
        return 2;
    }
    struct epoll_event events[MAX_EVENTS];
    int listener = listen_on_loopback(1), epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                int fd;
                while ((fd = accept_one(listener)) >= 0) {
                    c = must(calloc(1, sizeof *c));
                    c->fd = fd;
                    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
                }
            } else if (!serve(epoll, c, events[i].events)) {
                end(c);
            }
        }
    }
}
