/* Preloaded into a program under test: the n-th system call of one kind on files below a folder fails, once or from
 * then on. Which one it is stands in a file that all its processes map: FAULT_PLAN names it, `struct plan` is its form.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static struct plan {
    _Atomic long count; /* calls so far that might have failed */
    long at;            /* which of them fails, from 1; 0 for none */
    long number;        /* errno, then */
    long always;        /* all later ones fail too */
    char call[32];      /* "open", "write", ... */
    char below[480];    /* a folder */
} *plan;

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_PLAN");
    int (*open_real)(const char *, int, ...) = real("open");
    int descriptor = path ? open_real(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *memory = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory != MAP_FAILED)
        plan = memory;
}

static int concerns(const char *call) {
    return plan && !strcmp(call, plan->call);
}

/* Whether this call, on a file of this whole path, is one that fails. */
static int fails_at(const char *path) {
    if (strncmp(path, plan->below, strlen(plan->below)))
        return 0;
    long count = atomic_fetch_add(&plan->count, 1) + 1;
    if (!plan->at || (count != plan->at && !(plan->always && count > plan->at)))
        return 0;
    errno = plan->number;
    return 1;
}

static int fails(const char *call, int folder, const char *path) {
    char whole[PATH_MAX] = "", name[64];
    if (!concerns(call))
        return 0;
    if (path && path[0] == '/')
        return fails_at(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, sizeof whole))
            return 0;
    } else {
        snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(name, whole, sizeof whole - 1);
        if (length < 0)
            return 0;
        whole[length] = 0;
    }
    if (path) {
        strncat(whole, "/", sizeof whole - strlen(whole) - 1);
        strncat(whole, path, sizeof whole - strlen(whole) - 1);
    }
    return fails_at(whole);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, last); mode = va_arg(list, mode_t); va_end(list); }

#define OPEN(symbol) \
    int symbol(const char *path, int flags, ...) { \
        MODE(flags, flags) \
        if (fails("open", AT_FDCWD, path)) return -1; \
        int (*function)(const char *, int, ...) = real(#symbol); \
        return function(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(symbol) \
    int symbol(int folder, const char *path, int flags, ...) { \
        MODE(flags, flags) \
        if (fails("open", folder, path)) return -1; \
        int (*function)(int, const char *, int, ...) = real(#symbol); \
        return function(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define ON_DESCRIPTOR(kind, call, symbol, parameters, arguments) \
    kind symbol parameters { \
        if (fails(call, descriptor, NULL)) return -1; \
        kind (*function) parameters = real(#symbol); \
        return function arguments; \
    }
ON_DESCRIPTOR(ssize_t, "read", read, (int descriptor, void *data, size_t size), (descriptor, data, size))
ON_DESCRIPTOR(ssize_t, "read", pread, (int descriptor, void *data, size_t size, off_t at), (descriptor, data, size, at))
ON_DESCRIPTOR(ssize_t, "read", pread64, (int descriptor, void *data, size_t size, off64_t at), (descriptor, data, size, at))
ON_DESCRIPTOR(ssize_t, "write", write, (int descriptor, const void *data, size_t size), (descriptor, data, size))
ON_DESCRIPTOR(ssize_t, "write", pwrite, (int descriptor, const void *data, size_t size, off_t at), (descriptor, data, size, at))
ON_DESCRIPTOR(ssize_t, "write", pwrite64, (int descriptor, const void *data, size_t size, off64_t at), (descriptor, data, size, at))
ON_DESCRIPTOR(ssize_t, "write", pwritev, (int descriptor, const struct iovec *parts, int count, off_t at), (descriptor, parts, count, at))
ON_DESCRIPTOR(ssize_t, "write", pwritev64, (int descriptor, const struct iovec *parts, int count, off64_t at), (descriptor, parts, count, at))
ON_DESCRIPTOR(int, "truncate", ftruncate, (int descriptor, off_t size), (descriptor, size))
ON_DESCRIPTOR(int, "truncate", ftruncate64, (int descriptor, off64_t size), (descriptor, size))
ON_DESCRIPTOR(int, "sync", fsync, (int descriptor), (descriptor))
ON_DESCRIPTOR(int, "sync", fdatasync, (int descriptor), (descriptor))

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t length, unsigned int flags) {
    if (fails("write", target, NULL)) return -1;
    ssize_t (*function)(int, off64_t *, int, off64_t *, size_t, unsigned int) = real("copy_file_range");
    return function(source, from, target, to, length, flags);
}

#define ON_PATH(call, symbol, parameters, arguments) \
    int symbol parameters { \
        if (fails(call, AT_FDCWD, path)) return -1; \
        int (*function) parameters = real(#symbol); \
        return function arguments; \
    }
ON_PATH("stat", stat, (const char *restrict path, struct stat *restrict found), (path, found))
ON_PATH("stat", stat64, (const char *restrict path, struct stat64 *restrict found), (path, found))
ON_PATH("stat", lstat, (const char *restrict path, struct stat *restrict found), (path, found))
ON_PATH("stat", lstat64, (const char *restrict path, struct stat64 *restrict found), (path, found))
ON_PATH("mkdir", mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH("unlink", unlink, (const char *path), (path))
ON_PATH("unlink", rmdir, (const char *path), (path))
ON_PATH("rename", rename, (const char *path, const char *to), (path, to))
ON_PATH("rename", link, (const char *path, const char *to), (path, to))

int unlinkat(int folder, const char *path, int flags) {
    if (fails("unlink", folder, path)) return -1;
    int (*function)(int, const char *, int) = real("unlinkat");
    return function(folder, path, flags);
}

/* Locks between processes lie in /dev/shm. */
sem_t *sem_open(const char *name, int flags, ...) {
    mode_t mode = 0;
    unsigned int value = 0;
    if (flags & O_CREAT) {
        va_list list;
        va_start(list, flags);
        mode = va_arg(list, mode_t);
        value = va_arg(list, unsigned int);
        va_end(list);
    }
    if (fails("sem_open", AT_FDCWD, "/dev/shm/semaphore")) return SEM_FAILED;
    sem_t *(*function)(const char *, int, ...) = real("sem_open");
    return function(name, flags, mode, value);
}
