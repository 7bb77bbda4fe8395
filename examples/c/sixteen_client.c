/*
 * The sixteen-octet client, with plain socket calls: it knows nothing of fourtuple.
 *
 *     cc -o sixteen_client sixteen_client.c
 *     ./sixteen_client 127.0.0.1 9999
 *
 * It connects, says who is connected to whom, sends 16 octets, receives exactly 16 octets and prints them.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 16

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* send() may take a part only: go on with the rest. */
static void send_all(int fd, const char *octets, size_t size) {
    while (size > 0) {
        ssize_t taken = send(fd, octets, size, MSG_NOSIGNAL);
        if (taken < 0)
            die("send");
        octets += taken;
        size -= (size_t)taken;
    }
}

/* recv() brings what is there: go on until all of it is. Returns what came before the end of file. */
static size_t receive_exactly(int fd, char *octets, size_t size) {
    size_t received = 0;
    while (received < size) {
        ssize_t came = recv(fd, octets + received, size - received, 0);
        if (came < 0)
            die("recv");
        if (came == 0)
            break;
        received += (size_t)came;
    }
    return received;
}

static void print_name(const char *what, const struct sockaddr_in *name) {
    char ip[INET_ADDRSTRLEN];
    printf("%s %s:%d\n", what, inet_ntop(AF_INET, &name->sin_addr, ip, sizeof ip), ntohs(name->sin_port));
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: %s IP PORT\n", arguments[0]);
        return 2;
    }
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
    if (inet_pton(AF_INET, arguments[1], &remote.sin_addr) != 1) {
        fprintf(stderr, "%s is not an IPv4 address\n", arguments[1]);
        return 2;
    }

    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&remote, sizeof remote) < 0)
        die("connect");

    struct sockaddr_in local;
    socklen_t length = sizeof local;
    if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
        die("getsockname");
    print_name("local ", &local);
    print_name("remote", &remote);

    send_all(fd, "Hi there, server", SIZE);
    char reply[SIZE];
    size_t received = receive_exactly(fd, reply, SIZE);
    if (received < SIZE) {
        fprintf(stderr, "expected %d octets, received %zu\n", SIZE, received);
        return 1;
    }
    printf("%.*s\n", SIZE, reply);
    close(fd);
    return 0;
}
