/* A library for LD_PRELOAD: fsync and fdatasync take 5 ms, as on a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int call_slowly(const char *name, int file) {
    struct timespec delay = {0, 5000000};
    int (*original)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    nanosleep(&delay, 0);
    return original(file);
}

int fsync(int file) { return call_slowly("fsync", file); }
int fdatasync(int file) { return call_slowly("fdatasync", file); }
