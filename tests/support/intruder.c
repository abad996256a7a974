/* A workload that tries to get out. Static, one subcommand a try; each says in one line what it got. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a numeric address and a port are to the kernel. */
struct place {
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };
    socklen_t length;
};

static struct place address(const char *host, const char *port) {
    struct place place = {.length = 0};
    if (inet_pton(AF_INET, host, &place.v4.sin_addr) == 1) {
        place.v4.sin_family = AF_INET, place.length = sizeof place.v4;
    } else if (inet_pton(AF_INET6, host, &place.v6.sin6_addr) == 1) {
        place.v6.sin6_family = AF_INET6, place.length = sizeof place.v6;
    } else {
        exit(98);
    }
    /* The port is in the same place. */
    place.v4.sin_port = htons(atoi(port));
    return place;
}

/* Whether what is missing may still come: an address of the machine's own, or the way there. */
static int too_early(void) { return errno == ENETUNREACH || errno == EADDRNOTAVAIL || errno == EHOSTUNREACH; }

/* Connects, and says what the server says. A machine's IPv6 address takes a while: `patient` waits for it. */
static void tcp(const char *host, const char *port, int patient) {
    struct place to = address(host, port);
    char said[64] = "";
    for (int left = patient ? 300 : 1;;) {
        int fd = socket(to.any.sa_family, SOCK_STREAM, 0);
        struct timeval limit = {.tv_sec = 20};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (!connect(fd, &to.any, to.length)) {
            ssize_t length = read(fd, said, sizeof said - 1);
            printf("tcp %s: %s\n", host, length > 0 ? said : "nothing");
            close(fd);
            return;
        }
        int error = errno;
        close(fd);
        errno = error;
        if (!--left || !too_early()) break;
        usleep(100000);
    }
    printf("tcp %s: %s\n", host, strerror(errno));
}

/* Sends a datagram and does not wait for anything. */
static void udp(const char *host, const char *port, const char *text) {
    struct place to = address(host, port);
    int fd = socket(to.any.sa_family, SOCK_DGRAM, 0);
    sendto(fd, text, strlen(text), 0, &to.any, to.length);
    close(fd);
}

/* Sends a datagram until there is an answer. */
static void ask(const char *host, const char *port) {
    struct place to = address(host, port);
    int fd = socket(to.any.sa_family, SOCK_DGRAM, 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char said[64] = "nothing";
    for (int left = 100; left; left--) {
        sendto(fd, "ask", 3, 0, &to.any, to.length);
        if (poll(&ready, 1, 200) != 1) continue;
        ssize_t length = recv(fd, said, sizeof said - 1, 0);
        if (length < 0) continue;
        said[length] = 0;
        break;
    }
    printf("udp %s: %s\n", host, said);
}

/* Answers one datagram, and sends another from the same port to somebody who has not asked. */
static void serve(const char *port, const char *host, const char *other) {
    struct place here = address("0.0.0.0", port), to = address(host, other);
    struct sockaddr_storage client;
    socklen_t length = sizeof client;
    char asked[64];
    int fd = socket(here.any.sa_family, SOCK_DGRAM, 0);
    if (bind(fd, &here.any, here.length)) exit(97);
    recvfrom(fd, asked, sizeof asked, 0, (struct sockaddr *)&client, &length);
    sendto(fd, "stray", 5, 0, &to.any, to.length);
    sendto(fd, "answered", 8, 0, (struct sockaddr *)&client, length);
    printf("served\n");
}

int main(int argc, char **argv) {
    if (argc < 4) return 99;
    if (!strcmp(argv[1], "tcp")) tcp(argv[2], argv[3], argc > 4);
    if (!strcmp(argv[1], "udp")) udp(argv[2], argv[3], argc > 4 ? argv[4] : "try");
    if (!strcmp(argv[1], "ask")) ask(argv[2], argv[3]);
    if (!strcmp(argv[1], "serve") && argc > 4) serve(argv[2], argv[3], argv[4]);
    return 0;
}
