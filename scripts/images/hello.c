/*
 * The article's workload, C edition: the only file of an image made FROM scratch.
 *
 * A userland as small as one static executable still needs a kernel to print this line; which one it got is in it.
 */
#include <stdio.h>
#include <sys/utsname.h>

int main(void) {
    struct utsname kernel;

    if (uname(&kernel) != 0)
        return 1;
    printf("Hello from OS-less container (C, %s %s on %s)\n", kernel.sysname, kernel.release, kernel.machine);
    return 0;
}
