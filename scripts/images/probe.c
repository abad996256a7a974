/*
 * A workload that does one thing at a time, for tests: static, so that it runs in an image that holds nothing else.
 *
 *   probe exit N          ends with status N
 *   probe kill N          dies of signal N: 4 (SIGILL) and 11 (SIGSEGV) also as the first process
 *   probe sleep SECONDS
 *   probe echo WORD...    the words, one a line
 *   probe streams         one line on standard output, another on standard error
 *   probe bytes N         N bytes of a fixed pattern in which every byte value occurs
 *   probe cat             standard input to standard output
 *   probe self            pid, ids, groups, working directory, host name, then the environment
 *   probe bind PORT       listens on a TCP port and says so
 *   probe tree PATH [SKIP...]   every path beneath PATH on the same terms on any host: one line each, sorted
 *
 * A line of `tree`: type and permissions, owner, group, links, size or device, mtime with nanoseconds, hash of the
 * content, path, link target, extended attributes. Names are escaped to printable ASCII. Directories have no size:
 * it belongs to the file system, not to the image.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what) {
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(99);
}

static void print_escaped(const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte > ' ' && byte < 0x7f && byte != '\\')
            putchar(byte);
        else
            printf("\\x%02x", byte);
    }
}

/* FNV-1a, 64 bits: enough to see a block that went to the wrong place. */
static uint64_t content_hash(const char *path) {
    static unsigned char buffer[1 << 16];
    uint64_t hash = 0xcbf29ce484222325u;
    ssize_t got;
    int file = open(path, O_RDONLY | O_NOFOLLOW);

    if (file < 0)
        fail(path);
    while ((got = read(file, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++)
            hash = (hash ^ buffer[i]) * 0x100000001b3u;
    if (got < 0)
        fail(path);
    close(file);
    return hash;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattrs(const char *path) {
    static char names[1 << 16], value[1 << 16];
    char *sorted[256];
    size_t count = 0;
    ssize_t length = llistxattr(path, names, sizeof names);

    if (length < 0) {
        if (errno == ENOTSUP)
            return;
        fail(path);
    }
    for (char *name = names; name < names + length && count < 256; name += strlen(name) + 1)
        sorted[count++] = name;
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, sorted[i], value, sizeof value);
        if (size < 0)
            fail(sorted[i]);
        printf(" %s=", sorted[i]);
        print_escaped(value, (size_t)size);
    }
}

static void print_entry(const char *path) {
    struct stat at;
    char target[4096];

    if (lstat(path, &at) != 0)
        fail(path);
    printf("%06o %u:%u ", at.st_mode, at.st_uid, at.st_gid);
    /* The link count of a directory counts its subdirectories on some file systems only. */
    if (S_ISDIR(at.st_mode))
        printf("- - ");
    else if (S_ISCHR(at.st_mode) || S_ISBLK(at.st_mode))
        printf("%lu %u,%u ", (unsigned long)at.st_nlink, major(at.st_rdev), minor(at.st_rdev));
    else
        printf("%lu %lld ", (unsigned long)at.st_nlink, (long long)at.st_size);
    printf("%lld.%09ld ", (long long)at.st_mtim.tv_sec, at.st_mtim.tv_nsec);
    if (S_ISREG(at.st_mode))
        printf("%016llx ", (unsigned long long)content_hash(path));
    else
        printf("- ");
    print_escaped(path, strlen(path));
    if (S_ISLNK(at.st_mode)) {
        ssize_t length = readlink(path, target, sizeof target);
        if (length < 0)
            fail(path);
        printf(" -> ");
        print_escaped(target, (size_t)length);
    }
    print_xattrs(path);
    putchar('\n');
}

static int is_skipped(const char *path, char **skip) {
    for (; *skip; skip++)
        if (strcmp(path, *skip) == 0)
            return 1;
    return 0;
}

static void walk(const char *path, char **skip) {
    char **names = NULL;
    size_t count = 0;
    struct stat at;
    struct dirent *entry;
    DIR *directory;

    if (is_skipped(path, skip))
        return;
    print_entry(path);
    if (lstat(path, &at) != 0 || !S_ISDIR(at.st_mode))
        return;
    directory = opendir(path);
    if (!directory)
        fail(path);
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        names = realloc(names, (count + 1) * sizeof *names);
        if (!names || !(names[count++] = strdup(entry->d_name)))
            fail("memory");
    }
    closedir(directory);
    if (count)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        char *child;
        if (asprintf(&child, "%s/%s", strcmp(path, "/") == 0 ? "" : path, names[i]) < 0)
            fail("memory");
        walk(child, skip);
        free(child);
        free(names[i]);
    }
    free(names);
}

/*
 * Dies of a signal. The first process of a PID namespace ignores every signal it has no handler for when it is sent
 * from inside, even SIGKILL from itself; only a fault of its own still ends it. So the faults are real ones.
 */
static int die_of(int number) {
    struct rlimit no_core = {0, 0};
    char *volatile nowhere = (char *)8;

    setrlimit(RLIMIT_CORE, &no_core);
    signal(number, SIG_DFL);
    switch (number) {
    case SIGSEGV:
        *nowhere = 0;
        break;
    case SIGILL:
        __builtin_trap();
        break;
    default:
        kill(getpid(), number);
    }
    return 98;
}

static int print_self(void) {
    gid_t groups[64];
    char directory[4096], host[256];
    int count = getgroups(64, groups);

    if (!getcwd(directory, sizeof directory) || gethostname(host, sizeof host) != 0)
        fail("self");
    printf("pid=%d ppid=%d uid=%u gid=%u groups=", getpid(), getppid(), getuid(), getgid());
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? "," : "", groups[i]);
    printf("\ncwd=%s\nhostname=%s\n", directory, host);
    for (char **variable = environ; *variable; variable++)
        puts(*variable);
    return 0;
}

/* Whether bit 10 (CAP_NET_BIND_SERVICE) of this process's effective capabilities is set. */
static int may_bind_low_ports(void) {
    FILE *status = fopen("/proc/self/status", "r");
    unsigned long long effective = 0;
    char line[256];

    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "CapEff: %llx", &effective) == 1)
            break;
    return (int)(effective >> 10 & 1);
}

static int bind_port(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    /* Runtimes open the low ports to everybody (net.ipv4.ip_unprivileged_port_start), so binding alone proves little. */
    if (!may_bind_low_ports()) {
        fprintf(stderr, "probe: CAP_NET_BIND_SERVICE is not effective\n");
        return 99;
    }
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0)
        fail("bind");
    printf("listening on port %d as uid %u\n", port, getuid());
    return 0;
}

static int print_bytes(long count) {
    for (long i = 0; i < count; i++)
        putchar((int)((i * 31 + (i >> 8)) & 0xff));
    return 0;
}

static int copy_input(void) {
    static char buffer[1 << 16];
    ssize_t got;

    while ((got = read(0, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, (size_t)got, stdout);
    return got < 0 ? 99 : 0;
}

static int run(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";

    if (argc > 2 && strcmp(what, "exit") == 0)
        return atoi(argv[2]);
    if (argc > 2 && strcmp(what, "kill") == 0)
        return die_of(atoi(argv[2]));
    if (argc > 2 && strcmp(what, "sleep") == 0)
        return (int)sleep((unsigned)atoi(argv[2]));
    if (argc > 2 && strcmp(what, "bytes") == 0)
        return print_bytes(atol(argv[2]));
    if (argc > 2 && strcmp(what, "bind") == 0)
        return bind_port(atoi(argv[2]));
    if (argc > 2 && strcmp(what, "tree") == 0) {
        walk(argv[2], argv + 3);
        return 0;
    }
    if (strcmp(what, "echo") == 0) {
        for (int i = 2; i < argc; i++)
            puts(argv[i]);
        return 0;
    }
    if (strcmp(what, "streams") == 0) {
        puts("to standard output");
        fputs("to standard error\n", stderr);
        return 0;
    }
    if (strcmp(what, "cat") == 0)
        return copy_input();
    if (strcmp(what, "self") == 0)
        return print_self();
    fprintf(stderr, "probe: unknown request: %s\n", what);
    return 2;
}

int main(int argc, char **argv) {
    int status = run(argc, argv);

    if (fflush(stdout) != 0)
        fail("standard output");
    return status;
}
