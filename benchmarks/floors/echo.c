/* The floor: read, write back whatever was read, on epoll. No messages, no memory per connection.
   `echo N` does it in N processes. */
#include "floor.h"

static void write_all(int fd, const char *octets, ssize_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, octets, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return;
        if (sent > 0) {
            octets += sent;
            size -= sent;
        }
    }
}

int main(int argc, char **argv)
{
    static char buffer[READ_SIZE];
    struct epoll_event events[MAX_EVENTS];
    int listener = listen_on_loopback(argc > 1 ? atoi(argv[1]) : 1), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept_one(listener)) >= 0) {
                    event.data.fd = fd;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size > 0)
                write_all(fd, buffer, size);
            else if (size == 0 || errno != EAGAIN)
                close(fd);
        }
    }
}
