/*
 * The workload that scripts/bench-boot measures boots with: its first instruction reads the processor's time stamp
 * counter, which counts from the machine's start. Then it tells what the kernel knew of the time at that moment, how
 * many ticks a second has, and the kernel's log, a line each. x86_64 only.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/klog.h>
#include <time.h>
#include <x86intrin.h>

#define SYSLOG_ACTION_READ_ALL 3

extern void _start(void);
extern uint64_t first_tick;

/* Before the C library's own start. It is entered with nothing but the stack's contents and rdx, which is kept. */
__asm__(".data\n"
        ".balign 8\n"
        "first_tick: .quad 0\n"
        ".text\n"
        ".globl first\n"
        "first:\n"
        "    mov %rdx, %rcx\n"
        "    rdtsc\n"
        "    shl $32, %rdx\n"
        "    or %rdx, %rax\n"
        "    mov %rax, first_tick(%rip)\n"
        "    mov %rcx, %rdx\n"
        "    jmp _start\n");

static double seconds(clockid_t clock) {
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void) {
    static char log[1 << 20];
    double uptime = seconds(CLOCK_BOOTTIME);
    uint64_t then = __rdtsc(), now;
    double begin = seconds(CLOCK_MONOTONIC_RAW), end;
    int length;

    /* Behind what is measured, so it may take its time. */
    do
        end = seconds(CLOCK_MONOTONIC_RAW);
    while (end - begin < 0.05);
    now = __rdtsc();
    printf("first tick=%llu then=%llu now=%llu uptime=%.6f rate=%.0f\n", (unsigned long long)first_tick,
           (unsigned long long)then, (unsigned long long)now, uptime, (double)(now - then) / (end - begin));
    fflush(stdout);
    length = klogctl(SYSLOG_ACTION_READ_ALL, log, sizeof log);
    if (length > 0)
        fwrite(log, 1, (size_t)length, stdout);
    puts("first end");
    return 0;
}
