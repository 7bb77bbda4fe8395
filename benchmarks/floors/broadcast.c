/* The floor of a broadcast: a loop of send() over all connections.
 *
 * Messages of 100 octets. One that begins with "!" goes to everybody, any other is echoed.
 */
#include "floor.h"

#define SIZE 100

struct connection {
    int fd;
    size_t place, held;
    char message[SIZE];
};

static struct connection **all;
static size_t count, room;

static void add(int epoll, int fd)
{
    struct connection *c = must(calloc(1, sizeof *c));
    if (count == room)
        all = must(realloc(all, (room = room ? 2 * room : 1024) * sizeof *all));
    c->fd = fd;
    c->place = count;
    all[count++] = c;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
}

static void drop(struct connection *c)
{
    all[c->place] = all[--count];
    all[c->place]->place = c->place;
    close(c->fd);
    free(c);
}

static void put(struct connection *c, const char *message)
{
    if (send(c->fd, message, SIZE, MSG_NOSIGNAL) != SIZE && errno != EPIPE && errno != ECONNRESET)
        fail("send");
}

int main(void)
{
    struct epoll_event events[MAX_EVENTS];
    int listener = listen_on_loopback(1), epoll = epoll_create1(EPOLL_CLOEXEC), fd;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                while ((fd = accept_one(listener)) >= 0)
                    add(epoll, fd);
                continue;
            }
            ssize_t size = recv(c->fd, c->message + c->held, SIZE - c->held, 0);
            if (size <= 0) {
                if (size == 0 || errno != EAGAIN)
                    drop(c);
                continue;
            }
            c->held += size;
            if (c->held < SIZE)
                continue;
            c->held = 0;
            if (c->message[0] != '!')
                put(c, c->message);
            else
                for (size_t k = 0; k < count; k++)
                    put(all[k], c->message);
        }
    }
}
