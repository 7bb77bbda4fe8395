/*
 * The sixteen-octet server, with plain socket calls: one peer after the other, and no limits.
 *
 *     cc -o sixteen_server sixteen_server.c
 *     ./sixteen_server 9999          (0: the kernel chooses the port)
 *
 * It prints where it listens and who connects, answers every 16 octets with 16 octets, and goes on with the
 * next peer at the end of file. Compare examples/sixteen.py: what is missing here is what fourtuple is for.
 * A peer that says nothing keeps all others waiting.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 16
#define BACKLOG 20

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns -1 when the peer is gone: MSG_NOSIGNAL, or SIGPIPE would end the whole server. */
static int send_all(int fd, const char *octets, size_t size) {
    while (size > 0) {
        ssize_t taken = send(fd, octets, size, MSG_NOSIGNAL);
        if (taken < 0)
            return -1;
        octets += taken;
        size -= (size_t)taken;
    }
    return 0;
}

static size_t receive_exactly(int fd, char *octets, size_t size) {
    size_t received = 0;
    while (received < size) {
        ssize_t came = recv(fd, octets + received, size - received, 0);
        if (came <= 0)
            break;
        received += (size_t)came;
    }
    return received;
}

static void print_name(const char *what, const struct sockaddr_in *name) {
    char ip[INET_ADDRSTRLEN];
    printf("%s %s:%d\n", what, inet_ntop(AF_INET, &name->sin_addr, ip, sizeof ip), ntohs(name->sin_port));
    fflush(stdout);
}

static void serve(int fd) {
    char message[SIZE];
    size_t received;
    while ((received = receive_exactly(fd, message, SIZE)) == SIZE)
        if (send_all(fd, "Farewell, client", SIZE) < 0)
            return;
    if (received > 0)
        fprintf(stderr, "expected %d octets, received %zu\n", SIZE, received);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s PORT\n", arguments[0]);
        return 2;
    }
    int passive = socket(AF_INET, SOCK_STREAM, 0);
    if (passive < 0)
        die("socket");
    /* Without it, a restart waits for the old connections' TIME_WAIT. */
    int on = 1;
    if (setsockopt(passive, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die("SO_REUSEADDR");
    struct sockaddr_in local = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof local;
    if (bind(passive, (struct sockaddr *)&local, sizeof local) < 0)
        die("bind");
    if (listen(passive, BACKLOG) < 0)
        die("listen");
    if (getsockname(passive, (struct sockaddr *)&local, &length) < 0)
        die("getsockname");
    print_name("listening at", &local);

    for (;;) {
        struct sockaddr_in remote;
        length = sizeof remote;
        int active = accept(passive, (struct sockaddr *)&remote, &length);
        if (active < 0)
            die("accept");
        print_name("connected by", &remote);
        serve(active);
        close(active);
    }
}
