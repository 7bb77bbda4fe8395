/* The load: connections x depth messages in flight over loopback, on one core, on epoll.
 *
 *     load --port N [--mode loop|paced|churn|hold|broadcast] [--connections N] [--depth N] [--idle N]
 *          [--framing fixed|line|u32] [--size N] [--end fin|rst] [--rate N] [--warmup S] [--seconds S] [--pids P,P...] [--tls]
 *
 * loop       every connection keeps `depth` messages in flight; `idle` more connections say nothing
 * paced      `rate` messages a second, at random moments, on the connections in turn, whatever has been answered
 * churn      `connections` at a time: connect, one message each way, close (FIN) or reset (RST), again
 * hold       open `connections`, one message each way on each, print "held", keep them until standard input ends
 * broadcast  open `connections`; the first sends "!..." and all of them must get it; again when they have
 *
 * The length of every reply is verified; a wrong one, a silent server or a lost connection is an error, exit code 1.
 * Prints one line of JSON about the time after the warm-up. `cpu` is what the processes of --pids used in exactly
 * that time: nanoseconds of the scheduler's accounting, read through the processes' CPU clocks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define MAX_EVENTS 256
#define MAX_PIDS 64
#define SILENCE_MS 10000
#define SCRATCH (1 << 20)
#define PACED_DEPTH 4096    /* the most unanswered messages of a connection, in an open loop */

enum framing { FIXED, LINE, U32 };
enum mode { LOOP, PACED, CHURN, HOLD, BROADCAST };

static struct {
    int port, connections, depth, idle, rst, tls;
    size_t size;
    double warmup, seconds, rate;
    enum framing framing;
    enum mode mode;
    clockid_t clocks[MAX_PIDS];
    int pids;
} asked = {.connections = 1, .depth = 1, .size = 16, .warmup = 0.1, .seconds = 1};

struct connection {
    int fd, writing;
    size_t to_send, place;     /* octets that are due, and where in the endless row of equal messages we are */
    size_t need, have;         /* of the reply in progress: its length where it is known, and what has come */
    unsigned char head[4];
    int outstanding;
    int64_t *sent_at;          /* a ring of `depth` moments */
    int first, last;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static char *row, *scratch;    /* equal messages one after the other, and where replies are read to */
static size_t wire, row_size;
static int epoll;
#ifdef WITH_TLS
static SSL_CTX *tls_context;
#endif

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t server_cpu(void)
{
    int64_t sum = 0;
    for (int i = 0; i < asked.pids; i++) {
        struct timespec t;
        if (clock_gettime(asked.clocks[i], &t) == 0)
            sum += t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    return sum;
}

/* -- latencies: 64 buckets per power of two, so that a percentile is right to 1.6 % ------------------------ */

#define SUB 64
struct histogram {
    uint64_t buckets[64 * SUB], recorded;
};
static struct histogram latencies, lags;  /* `lags`: by how much messages were sent after they were due */

static void record(struct histogram *histogram, int64_t nanoseconds)
{
    uint64_t value = nanoseconds > 0 ? nanoseconds : 0;
    int shift = value < SUB ? 0 : 63 - __builtin_clzll(value) - 5;
    histogram->buckets[shift * SUB + (value >> shift)]++;
    histogram->recorded++;
}

static double percentile(const struct histogram *histogram, double part)
{
    uint64_t wanted = histogram->recorded * part, seen = 0;
    for (int i = 0; i < 64 * SUB; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            int shift = i / SUB;
            return (double)((uint64_t)(i % SUB) << shift) + (shift ? (double)(1ULL << shift) / 2 : 0);
        }
    }
    return 0;
}

/* -- the window that is measured --------------------------------------------------------------------------- */

static int64_t begun, window_begun, window_until, cpu_begun;
static uint64_t counted;
static int measuring;

static void begin(void)
{
    begun = now();
}

/* Called often. Returns 0 when the time is over. */
static int going_on(void)
{
    int64_t moment = now();
    if (!measuring && moment - begun >= asked.warmup * 1e9) {
        measuring = 1;
        counted = 0;
        memset(&latencies, 0, sizeof latencies);
        memset(&lags, 0, sizeof lags);
        cpu_begun = server_cpu();
        window_begun = moment;
        window_until = moment + asked.seconds * 1e9;
    }
    return !measuring || moment < window_until;
}

static void report(size_t octets_each)
{
    double seconds = (now() - window_begun) / 1e9;
    int64_t cpu = server_cpu() - cpu_begun;
    if (!measuring || !counted)
        die("nothing was measured");
    printf("{\"count\": %llu, \"seconds\": %.6f, \"cpu\": %lld, \"octets\": %llu, \"p50\": %.0f, \"p90\": %.0f, "
           "\"p99\": %.0f, \"p999\": %.0f, \"lag99\": %.0f}\n",
           (unsigned long long)counted, seconds, (long long)cpu, (unsigned long long)(counted * octets_each),
           percentile(&latencies, 0.5), percentile(&latencies, 0.9), percentile(&latencies, 0.99),
           percentile(&latencies, 0.999), percentile(&lags, 0.99));
}

/* -- connections ------------------------------------------------------------------------------------------- */

static void interest(struct connection *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* A socket that connects, from one of many loopback addresses: no run uses up the ports of one. */
static int begin_connect(int flags)
{
    static unsigned turn;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + turn++ % 200)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(asked.port)};
    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    return fd;
}

static void be_patient(int fd)
{
    struct timeval patience = {.tv_sec = SILENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static ssize_t take(struct connection *c, char *into, size_t room, int flags)
{
#ifdef WITH_TLS
    if (c->tls) {
        int size = SSL_read(c->tls, into, room > 1 << 30 ? 1 << 30 : (int)room);
        if (size > 0)
            return size;
        int error = SSL_get_error(c->tls, size);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            errno = EAGAIN;
            return -1;
        }
        return 0;
    }
#endif
    return recv(c->fd, into, room, flags);
}

static ssize_t give(struct connection *c, const char *octets, size_t size, int flags)
{
#ifdef WITH_TLS
    if (c->tls) {
        int sent = SSL_write(c->tls, octets, (int)size);
        if (sent > 0)
            return sent;
        int error = SSL_get_error(c->tls, sent);
        errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
        return -1;
    }
#endif
    return send(c->fd, octets, size, flags | MSG_NOSIGNAL);
}

/* Count the whole replies in what was read; a reply of another length ends the run. */
static int replies_in(struct connection *c, const char *octets, size_t size)
{
    int whole = 0;
    while (size) {
        if (asked.framing == LINE) {
            const char *end = memchr(octets, '\n', size);
            size_t used = end ? (size_t)(end - octets) + 1 : size;
            c->have += used;
            if (c->have > wire || (end && c->have != wire))
                die("a reply of %zu octets, %zu expected", c->have, wire);
            octets += used;
            size -= used;
            if (end) {
                c->have = 0;
                whole++;
            }
            continue;
        }
        if (asked.framing == U32 && c->have < 4) {
            c->head[c->have++] = *octets++;
            size--;
            if (c->have == 4) {
                uint32_t length;
                memcpy(&length, c->head, 4);
                if (ntohl(length) != asked.size)
                    die("a reply of %u octets, %zu expected", ntohl(length), asked.size);
            }
            if (c->have < wire)
                continue;
        }
        size_t used = wire - c->have < size ? wire - c->have : size;
        c->have += used;
        octets += used;
        size -= used;
        if (c->have == wire) {
            c->have = 0;
            whole++;
        }
    }
    return whole;
}

static void open_one(struct connection *c)
{
    memset(c, 0, sizeof *c);
    c->fd = begin_connect(0);
    c->sent_at = calloc(asked.depth, sizeof *c->sent_at);
    be_patient(c->fd);
#ifdef WITH_TLS
    if (asked.tls) {
        c->tls = SSL_new(tls_context);
        SSL_set_fd(c->tls, c->fd);
        if (SSL_connect(c->tls) != 1)
            die("TLS handshake failed");
    }
#endif
}

/* One message each way, waiting: the server has surely accepted the connection then, and has seen it speak. */
static void greet(struct connection *c)
{
    for (size_t done = 0; done < wire;) {
        ssize_t sent = give(c, row + done, wire - done, 0);
        if (sent <= 0)
            die("send: %s", strerror(errno));
        done += sent;
    }
    for (int whole = 0; !whole;) {
        ssize_t size = take(c, scratch, SCRATCH, 0);
        if (size <= 0)
            die("no reply to the first message: %s", size ? strerror(errno) : "end of file");
        whole = replies_in(c, scratch, size);
    }
}

static struct connection *open_all(int count)
{
    struct connection *all = calloc(count, sizeof *all);
    for (int i = 0; i < count; i++) {
        open_one(&all[i]);
        greet(&all[i]);
    }
    return all;
}

/* -- loop -------------------------------------------------------------------------------------------------- */

static void push(struct connection *c)
{
    while (c->to_send) {
        size_t start = c->place % wire, size = row_size - start < c->to_send ? row_size - start : c->to_send;
        ssize_t sent = give(c, row + start, size, MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            if (!c->writing)
                interest(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->writing = 1;
            return;
        }
        if (sent <= 0)
            die("send: %s", strerror(errno));
        c->place = (c->place + sent) % wire;
        c->to_send -= sent;
    }
    if (c->writing)
        interest(c, EPOLL_CTL_MOD, EPOLLIN);
    c->writing = 0;
}

/* Send messages that were due at a moment. */
static void say(struct connection *c, int messages, int64_t moment)
{
    for (int i = 0; i < messages; i++) {
        c->sent_at[c->last] = moment;
        c->last = (c->last + 1) % asked.depth;
    }
    c->outstanding += messages;
    c->to_send += messages * wire;
    push(c);
}

static void hear(struct connection *c)
{
    ssize_t size = take(c, scratch, SCRATCH, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        die("the server ended a connection: %s", size ? strerror(errno) : "end of file");
    int whole = replies_in(c, scratch, size);
    if (whole > c->outstanding)
        die("more replies than messages");
    int64_t moment = now();
    for (int i = 0; i < whole; i++) {
        record(&latencies, moment - c->sent_at[c->first]);
        c->first = (c->first + 1) % asked.depth;
    }
    c->outstanding -= whole;
    counted += whole;
    if (whole && asked.mode == LOOP)
        say(c, whole, moment);
}

static void hear_all(struct connection *c)
{
    hear(c);
#ifdef WITH_TLS
    while (c->tls && SSL_pending(c->tls))
        hear(c);
#endif
}

static void run_loop(void)
{
    if (asked.idle)
        open_all(asked.idle);
    struct connection *all = open_all(asked.connections);
    struct epoll_event events[MAX_EVENTS];
    begin();
    for (int i = 0; i < asked.connections; i++) {
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        interest(&all[i], EPOLL_CTL_ADD, EPOLLIN);
        say(&all[i], asked.depth, now());
    }
    while (going_on()) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, SILENCE_MS);
        if (ready == 0)
            die("the server is silent");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                push(c);
            if (events[i].events & ~EPOLLOUT)
                hear_all(c);
        }
    }
    report(asked.size);
}

/* -- paced ------------------------------------------------------------------------------------------------- */

/* The time to the next message, so that messages come at random moments, the same in every run. */
static double gap(void)
{
    static uint64_t state = 88172645463325252ULL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return -log(((state >> 11) + 1) / 9007199254740993.0) / asked.rate * 1e9;
}

/* Send what is due, on the connections in turn; at most one on each. If this client is late, it reads replies before it
 * sends on: unread ones would look as if the server did not keep up. */
static void send_due(struct connection *all)
{
    static double due;
    static int turn;
    if (!due)
        due = begun;
    int left = asked.connections;
    for (int64_t moment; left-- && (moment = now()) >= due; due += gap()) {
        struct connection *c = &all[turn++ % asked.connections];
        if (c->outstanding == asked.depth)
            die("the server does not keep up with %.0f messages a second", asked.rate);
        record(&lags, moment - (int64_t)due);
        say(c, 1, (int64_t)due);
    }
}

static void run_paced(void)
{
    struct connection *all = open_all(asked.connections);
    struct epoll_event events[MAX_EVENTS];
    for (int i = 0; i < asked.connections; i++) {
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        interest(&all[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    begin();
    while (going_on()) {
        send_due(all);
        /* It does not sleep: a sleeping client would be late. */
        int ready = epoll_wait(epoll, events, MAX_EVENTS, 0);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                push(c);
            if (events[i].events & ~EPOLLOUT)
                hear_all(c);
            send_due(all);
        }
    }
    report(asked.size);
}

/* -- churn ------------------------------------------------------------------------------------------------- */

static void churn_begin(struct connection *c)
{
    c->have = 0;
    c->writing = 1;
    c->sent_at[0] = now();
    c->fd = begin_connect(SOCK_NONBLOCK);
    interest(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void churn_end(struct connection *c)
{
    if (asked.rst) {
        struct linger now_or_never = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now_or_never, sizeof now_or_never);
    }
    close(c->fd);
    counted++;
    record(&latencies, now() - c->sent_at[0]);
}

static void run_churn(void)
{
    struct connection *all = calloc(asked.connections, sizeof *all);
    struct epoll_event events[MAX_EVENTS];
    begin();
    for (int i = 0; i < asked.connections; i++) {
        all[i].sent_at = calloc(1, sizeof(int64_t));
        churn_begin(&all[i]);
    }
    while (going_on()) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, SILENCE_MS);
        if (ready == 0)
            die("the server is silent");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->writing) {
                if (send(c->fd, row, wire, MSG_NOSIGNAL) != (ssize_t)wire)
                    die("connect or send: %s", strerror(errno));
                c->writing = 0;
                interest(c, EPOLL_CTL_MOD, EPOLLIN);
                continue;
            }
            ssize_t size = recv(c->fd, scratch, SCRATCH, 0);
            if (size < 0 && errno == EAGAIN)
                continue;
            if (size <= 0)
                die("the server ended a connection: %s", size ? strerror(errno) : "end of file");
            if (replies_in(c, scratch, size)) {
                churn_end(c);
                churn_begin(c);
            }
        }
    }
    report(asked.size);
}

/* -- hold and broadcast ------------------------------------------------------------------------------------ */

static void run_hold(void)
{
    char octet;
    open_all(asked.connections);
    printf("held\n");
    fflush(stdout);
    while (read(0, &octet, 1) > 0)
        ;
}

static void run_broadcast(void)
{
    struct connection *all = open_all(asked.connections);
    struct epoll_event events[MAX_EVENTS];
    for (int i = 0; i < asked.connections; i++)
        interest(&all[i], EPOLL_CTL_ADD, EPOLLIN);
    row[0] = '!';
    begin();
    while (going_on()) {
        int64_t moment = now();
        int missing = asked.connections;
        if (send(all[0].fd, row, wire, MSG_NOSIGNAL) != (ssize_t)wire)
            die("send: %s", strerror(errno));
        while (missing) {
            int ready = epoll_wait(epoll, events, MAX_EVENTS, SILENCE_MS);
            if (ready == 0)
                die("%d connections miss the message", missing);
            for (int i = 0; i < ready; i++) {
                struct connection *c = events[i].data.ptr;
                ssize_t size = recv(c->fd, scratch, SCRATCH, MSG_DONTWAIT);
                if (size < 0 && errno == EAGAIN)
                    continue;
                if (size <= 0)
                    die("the server ended a connection: %s", size ? strerror(errno) : "end of file");
                missing -= replies_in(c, scratch, size);
            }
        }
        counted += asked.connections;
        record(&latencies, now() - moment);
    }
    report(asked.size);
}

/* -- what was asked ---------------------------------------------------------------------------------------- */

static int one_of(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    die("%s: not known", text);
    return -1;
}

static void read_pids(char *text)
{
    for (char *each = strtok(text, ","); each && asked.pids < MAX_PIDS; each = strtok(NULL, ","))
        if (clock_getcpuclockid(atoi(each), &asked.clocks[asked.pids]) == 0)
            asked.pids++;
}

static void read_arguments(int count, char **arguments)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"mode", 1, 0, 'm'}, {"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'},
        {"idle", 1, 0, 'i'}, {"framing", 1, 0, 'f'}, {"size", 1, 0, 's'}, {"end", 1, 0, 'e'},
        {"rate", 1, 0, 'r'}, {"warmup", 1, 0, 'w'}, {"seconds", 1, 0, 't'}, {"pids", 1, 0, 'P'}, {"tls", 0, 0, 'T'}, {0}};
    static const char *const framings[] = {"fixed", "line", "u32", NULL};
    static const char *const modes[] = {"loop", "paced", "churn", "hold", "broadcast", NULL};
    static const char *const ends[] = {"fin", "rst", NULL};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;)
        switch (option) {
        case 'p': asked.port = atoi(optarg); break;
        case 'm': asked.mode = one_of(optarg, modes); break;
        case 'c': asked.connections = atoi(optarg); break;
        case 'd': asked.depth = atoi(optarg); break;
        case 'i': asked.idle = atoi(optarg); break;
        case 'f': asked.framing = one_of(optarg, framings); break;
        case 's': asked.size = strtoul(optarg, NULL, 10); break;
        case 'e': asked.rst = one_of(optarg, ends); break;
        case 'r': asked.rate = atof(optarg); break;
        case 'w': asked.warmup = atof(optarg); break;
        case 't': asked.seconds = atof(optarg); break;
        case 'P': read_pids(optarg); break;
        case 'T': asked.tls = 1; break;
        default: exit(2);
        }
    if (asked.port <= 0 || asked.connections < 1 || asked.depth < 1 || asked.size < 1)
        die("--port, and at least one connection, message and octet, are needed");
    if (asked.mode == PACED) {
        if (!(asked.rate > 0))
            die("--mode paced needs --rate");
        asked.depth = PACED_DEPTH;
    }
#ifndef WITH_TLS
    if (asked.tls)
        die("built without TLS");
#endif
}

static void make_row(void)
{
    wire = asked.size + (asked.framing == LINE ? 1 : asked.framing == U32 ? 4 : 0);
    row_size = wire * (asked.depth + 1);
    row = malloc(row_size);
    scratch = malloc(SCRATCH);
    if (!row || !scratch)
        die("no memory");
    for (char *message = row; message < row + row_size; message += wire) {
        char *at = message;
        uint32_t length = htonl((uint32_t)asked.size);
        if (asked.framing == U32) {
            memcpy(at, &length, 4);
            at += 4;
        }
        for (size_t i = 0; i < asked.size; i++)
            at[i] = 'a' + i % 26;
        if (asked.framing == LINE)
            at[asked.size] = '\n';
    }
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    read_arguments(count, arguments);
    make_row();
    epoll = epoll_create1(EPOLL_CLOEXEC);
#ifdef WITH_TLS
    if (asked.tls) {
        tls_context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
        /* The same cipher with every server: where all are offered, Go takes this one and OpenSSL takes AES-256. */
        SSL_CTX_set_ciphersuites(tls_context, "TLS_AES_128_GCM_SHA256");
    }
#endif
    static void (*const runs[])(void) = {run_loop, run_paced, run_churn, run_hold, run_broadcast};
    runs[asked.mode]();
    return 0;
}
