/* Preloaded into a Python process: counts every write, fsync, rename, unlink, mkdir, link and truncate below one folder,
   and at the point that was armed it kills the process, tears the write, or answers ENOSPC or EIO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, KILL, TORN, NOSPACE, IOERROR };
static char root[PATH_MAX];
static long points, target;
static int fault, keeps_failing;

void fi_arm(const char *folder, long at, int mode, int sticky) {
  strncpy(root, folder, sizeof root - 1);
  points = 0, target = at, fault = mode, keeps_failing = sticky;
}
long fi_points(void) { return points; }

static int below(const char *path) { return root[0] && path && !strncmp(path, root, strlen(root)); }
static int open_below(int fd) {
  char link[64], path[PATH_MAX];
  if (!root[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return below(path);
}
static int reached(void) {
  long n = __sync_add_and_fetch(&points, 1);
  return target > 0 && (n == target || (keeps_failing && n > target));
}
static void die(void) { kill(getpid(), SIGKILL); pause(); }
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))
typedef ssize_t (*write_t)(int, const void *, size_t);
typedef ssize_t (*pwrite_t)(int, const void *, size_t, off_t);
typedef ssize_t (*writev_t)(int, const struct iovec *, int);
typedef int (*fd_t)(int);
typedef int (*two_t)(const char *, const char *);
typedef int (*one_t)(const char *);

/* What a write does at its point: -1 go on, 0 answer the error in errno, 1 write half and die. */
static int write_fault(void) {
  if (!reached()) return -1;
  if (fault == KILL) die();
  if (fault == TORN) return 1;
  if (fault == NOSPACE) { errno = ENOSPC; return 0; }
  return -1;
}
ssize_t write(int fd, const void *bytes, size_t count) {
  static write_t next; if (!next) next = NEXT(write_t, "write");
  if (open_below(fd)) switch (write_fault()) { case 0: return -1; case 1: next(fd, bytes, count / 2); die(); }
  return next(fd, bytes, count);
}
static ssize_t at_offset(const char *name, int fd, const void *bytes, size_t count, off_t offset) {
  pwrite_t next = NEXT(pwrite_t, name);
  if (open_below(fd)) switch (write_fault()) { case 0: return -1; case 1: next(fd, bytes, count / 2, offset); die(); }
  return next(fd, bytes, count, offset);
}
ssize_t pwrite(int fd, const void *b, size_t c, off_t o) { return at_offset("pwrite", fd, b, c, o); }
ssize_t pwrite64(int fd, const void *b, size_t c, off_t o) { return at_offset("pwrite64", fd, b, c, o); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  writev_t next = NEXT(writev_t, "writev");
  if (open_below(fd)) switch (write_fault()) { case 0: return -1; case 1: next(fd, parts, count / 2); die(); }
  return next(fd, parts, count);
}
static int sync_of(const char *name, int fd) {
  if (open_below(fd) && reached()) {
    if (fault == KILL || fault == TORN) die();
    if (fault == IOERROR) { errno = EIO; return -1; }
  }
  return NEXT(fd_t, name)(fd);
}
int fsync(int fd) { return sync_of("fsync", fd); }
int fdatasync(int fd) { return sync_of("fdatasync", fd); }
/* A change of names dies before it; with a full disk it fails where the file system would need a block. */
static int names(int inside, int needs_space) {
  if (!inside || !reached()) return 0;
  if (fault == KILL || fault == TORN) die();
  if (fault == NOSPACE && needs_space) { errno = ENOSPC; return -1; }
  return 0;
}
int rename(const char *from, const char *to) { return names(below(to), 1) ? -1 : NEXT(two_t, "rename")(from, to); }
int link(const char *from, const char *to) { return names(below(to), 1) ? -1 : NEXT(two_t, "link")(from, to); }
int unlink(const char *path) { return names(below(path), 0) ? -1 : NEXT(one_t, "unlink")(path); }
int rmdir(const char *path) { return names(below(path), 0) ? -1 : NEXT(one_t, "rmdir")(path); }
int mkdir(const char *path, mode_t mode) {
  return names(below(path), 1) ? -1 : NEXT(int (*)(const char *, mode_t), "mkdir")(path, mode);
}
int ftruncate(int fd, off_t size) { return names(open_below(fd), 0) ? -1 : NEXT(int (*)(int, off_t), "ftruncate")(fd, size); }
int ftruncate64(int fd, off_t size) { return names(open_below(fd), 0) ? -1 : NEXT(int (*)(int, off_t), "ftruncate64")(fd, size); }
