/* A disk that forgets and fails, below a program that is told nothing of it.
 *
 * Preloaded, this keeps beside the files what of them would survive a power loss, and lets
 * writes fail on command:
 *
 *   GLEANER_FAULTS_ROOT    only files below this folder are concerned
 *   GLEANER_FAULTS_KEEP    a folder for what survives:
 *     i<inode>             the contents of a file at its last fsync or fdatasync
 *     d<inode>             the entries of a folder at its last fsync: name, inode, kind
 *     fault                if there is one, what every write to a file is to fail with:
 *                          "enospc" or "eio"; "fsync" lets syncs fail only
 *
 * What was never synced is not there: a power loss is modelled as losing all of it, which
 * is the worst that a file system may do. Writes are also cut short now and then, as
 * write(2) may. Everything written here is in terms of inodes, so a rename needs nothing:
 * it survives once the folder is synced. A file that was removed, the folder not synced, and
 * whose inode another file got since, comes back with that one's contents: as rubbish under
 * a name that nobody should count on any more.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static const char *root(void) { return getenv("GLEANER_FAULTS_ROOT"); }
static const char *keep(void) { return getenv("GLEANER_FAULTS_KEEP"); }

/* Whether a descriptor is one of a file or folder that is concerned. */
static int concerned(int fd, struct stat *st) {
    char link[64], path[PATH_MAX];
    if (!root() || !keep() || fstat(fd, st)) return 0;
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return !strncmp(path, root(), strlen(root()));
}

static int fault(void) {
    char path[PATH_MAX], what[16] = {0};
    snprintf(path, sizeof path, "%s/fault", keep());
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, what, sizeof what - 1);
    close(fd);
    if (n <= 0) return 0;
    return !strncmp(what, "enospc", 6) ? ENOSPC : !strncmp(what, "eio", 3) ? EIO : -1;
}

/* Puts a whole new file in place, so that a killed process leaves the old or the new. */
static FILE *begin(char kind, ino_t ino, char *beside, char *path) {
    snprintf(path, PATH_MAX, "%s/%c%lu", keep(), kind, (unsigned long)ino);
    snprintf(beside, PATH_MAX, "%s.%lu", path, (unsigned long)gettid());
    return fopen(beside, "w");
}

static void keep_file(const struct stat *st, int fd) {
    char link[64], beside[PATH_MAX], path[PATH_MAX], buffer[1 << 16];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = REAL(open)(link, O_RDONLY | O_CLOEXEC);
    if (from < 0) return;
    FILE *to = begin('i', st->st_ino, beside, path);
    if (!to) abort();
    /* As long as it was when the sync began: what was appended meanwhile may be lost. */
    for (off_t left = st->st_size; left > 0;) {
        ssize_t n = read(from, buffer, left < (off_t)sizeof buffer ? left : sizeof buffer);
        if (n <= 0) break;
        fwrite(buffer, 1, n, to);
        left -= n;
    }
    close(from);
    if (fclose(to) || rename(beside, path)) abort();
}

static void keep_folder(const struct stat *st, int fd) {
    char link[64], beside[PATH_MAX], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    DIR *folder = opendir(link);
    if (!folder) return;
    FILE *to = begin('d', st->st_ino, beside, path);
    if (!to) abort();
    struct dirent *entry;
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            fprintf(to, "%c %lu %s\n", entry->d_type == DT_DIR ? 'd' : 'i',
                    (unsigned long)entry->d_ino, entry->d_name);
    closedir(folder);
    if (fclose(to) || rename(beside, path)) abort();
}

static int synced(int fd, int (*sync)(int)) {
    struct stat st;
    if (!concerned(fd, &st)) return sync(fd);
    int fails = fault();
    if (fails) {
        errno = fails > 0 ? fails : EIO;
        return -1;
    }
    int done = sync(fd);
    if (!done) {
        if (S_ISDIR(st.st_mode)) keep_folder(&st, fd);
        else keep_file(&st, fd);
    }
    return done;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* A file that is new or emptied has nothing to survive, whatever had its inode before. */
static int opened(int fd, int flags) {
    struct stat st;
    int before = errno;
    if (fd >= 0 && flags & (O_CREAT | O_TRUNC) && concerned(fd, &st) && !st.st_size) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/i%lu", keep(), (unsigned long)st.st_ino);
        unlink(path);
    }
    errno = before;
    return fd;
}

#define OPEN(name)                                      \
    int name(const char *path, int flags, ...) {        \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode_t mode = va_arg(more, mode_t);             \
        va_end(more);                                   \
        return opened(REAL(name)(path, flags, mode), flags); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                    \
    int name(int at, const char *path, int flags, ...) { \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode_t mode = va_arg(more, mode_t);             \
        va_end(more);                                   \
        return opened(REAL(name)(at, path, flags, mode), flags); \
    }
OPENAT(openat)
OPENAT(openat64)

/* A new folder has no entries that survive. */
int mkdir(const char *path, mode_t mode) {
    int made = REAL(mkdir)(path, mode);
    struct stat st;
    int before = errno;
    if (!made && root() && keep() && !stat(path, &st)) {
        char kept[PATH_MAX];
        snprintf(kept, sizeof kept, "%s/d%lu", keep(), (unsigned long)st.st_ino);
        unlink(kept);
    }
    errno = before;
    return made;
}

/* How much of a write goes through: all, some, or -1 for none of it. */
static ssize_t allowed(int fd, size_t size) {
    static atomic_uint count;
    struct stat st;
    int before = errno;
    if (!concerned(fd, &st)) return size;
    int fails = fault();
    if (fails > 0) {
        errno = fails;
        return -1;
    }
    errno = before;
    return size > 1 && ++count % 17 == 0 ? (ssize_t)(size / 2) : (ssize_t)size;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t most = allowed(fd, size);
    return most < 0 ? -1 : REAL(write)(fd, bytes, most);
}

#define PWRITE(name, offset_type)                                          \
    ssize_t name(int fd, const void *bytes, size_t size, offset_type at) { \
        ssize_t most = allowed(fd, size);                                  \
        return most < 0 ? -1 : REAL(name)(fd, bytes, most, at);            \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return allowed(fd, 1) < 0 ? -1 : REAL(writev)(fd, parts, count);
}
