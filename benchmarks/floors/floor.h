/* What the floors share: a listener whose port is printed, non-blocking sockets, and an end with the parent. */
#ifndef FLOOR_H
#define FLOOR_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 256
#define READ_SIZE 65536

static inline void fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline void *must(void *memory)
{
    if (memory == NULL)
        fail("memory");
    return memory;
}

static inline void watch(int epoll, int operation, int fd, uint32_t events, void *whose)
{
    struct epoll_event event = {.events = events, .data.ptr = whose};
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        fail("epoll_ctl");
}

static inline void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Listen at this address; with port 0, the kernel chooses one. Return the socket, and write its address back. */
static inline int listen_at(struct sockaddr_in *name, int shared)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *name;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &shared, sizeof shared) < 0 ||
        bind(fd, (struct sockaddr *)name, size) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)name, &size) < 0)
        fail("listen");
    return fd;
}

/* Listen on a port of loopback that the kernel chooses, and say which. With more than one process, each returns with a
   socket of its own at this port (SO_REUSEPORT): the kernel divides the connections, as among the workers of a server. */
static inline int listen_on_loopback(int processes)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    int fd = listen_at(&name, processes > 1);
    for (int i = 1; i < processes; i++) {
        int other = listen_at(&name, 1);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(fd);
            return other;
        }
        close(other);
    }
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    return fd;
}

static inline int accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

#endif
