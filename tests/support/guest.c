/* The workload of the boot tests: what a shell cannot do by itself. Static, one subcommand a question. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    char target[256], path[300];
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder)) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        printf("fd %s %s\n", entry->d_name, strncmp(target, "pipe:", 5) ? target : "pipe");
    }
    return 0;
}

/* Orphans that end in bursts; the parent then waits until none of them is left as a zombie. */
static int orphans(int count) {
    for (int i = 0; i < count; i++) {
        pid_t middle = fork();
        if (middle == 0) {
            if (fork() == 0) _exit(0);
            _exit(0);
        }
        waitpid(middle, NULL, 0);
    }
    int reaped = 0;
    while (waitpid(-1, NULL, 0) > 0) reaped++;
    printf("orphans %d\n", reaped);
    return 0;
}

/* Bytes whose order can be checked: a counter in lines of 16. */
static int flood(long bytes) {
    static char block[65536];
    long line = 0;
    while (bytes > 0) {
        for (size_t at = 0; at < sizeof block; at += 16) snprintf(block + at, 17 > sizeof block - at ? 16 : 17, "%015ld\n", line++), block[at + 15] = '\n';
        size_t rest = bytes < (long)sizeof block ? (size_t)bytes : sizeof block;
        for (size_t sent = 0; sent < rest;) {
            ssize_t n = write(1, block + sent, rest - sent);
            if (n < 0) return 1;
            sent += (size_t)n;
        }
        bytes -= (long)rest;
    }
    return 0;
}

static volatile sig_atomic_t last;
static void note(int signal) { last = signal; }

/* Says which signal came, and exits with its number. */
static int wait_for_signal(void) {
    for (int signal = 1; signal <= 64; signal++) {
        /* Orphans of the tests come to the workload, as they do in a container. */
        if (signal == SIGCHLD) continue;
        struct sigaction action = {.sa_handler = note};
        sigaction(signal, &action, NULL);
    }
    puts("ready");
    fflush(stdout);
    while (!last) usleep(10000);
    printf("signal %d\n", last);
    fflush(stdout);
    return last;
}

/* Says each signal as it comes, for ever. */
static void say(int signal) {
    char line[16];
    int length = snprintf(line, sizeof line, "signal %d\n", signal);
    (void)!write(1, line, (size_t)length);
}
static int every_signal(void) {
    for (int signal = 1; signal <= 64; signal++) {
        struct sigaction action = {.sa_handler = say};
        sigaction(signal, &action, NULL);
    }
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

static int eat_memory(void) {
    for (;;) {
        char *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return 3;
        memset(block, 1, 1 << 20);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long number = argc > 2 ? atol(argv[2]) : 0;
    if (!strcmp(what, "fds")) return descriptors();
    if (!strcmp(what, "orphans")) return orphans((int)number);
    if (!strcmp(what, "flood")) return flood(number);
    if (!strcmp(what, "signal")) return wait_for_signal();
    if (!strcmp(what, "signals")) return every_signal();
    if (!strcmp(what, "memory")) return eat_memory();
    if (!strcmp(what, "exit")) return (int)number;
    if (!strcmp(what, "die")) { kill(getpid(), (int)number); return 0; }
    if (!strcmp(what, "abort")) abort();
    if (!strcmp(what, "crash")) *(volatile int *)8 = 1;
    if (!strcmp(what, "poweroff")) return reboot(RB_POWER_OFF);
    if (!strcmp(what, "restart")) return reboot(RB_AUTOBOOT);
    if (!strcmp(what, "daemon")) { if (fork() == 0) { sleep(100); } return 5; }
    if (!strcmp(what, "closed")) { close(0); close(1); close(2); usleep(100000); return 6; }
    return 99;
}
