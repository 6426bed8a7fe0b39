/*
 * Stands between SQLite and the kernel: notes what is written, cut off, created, deleted and synced below one folder,
 * and fails such calls on demand. It replaces the entries of these functions in the relocation table of the running
 * program, so it sees the real calls of bun:sqlite, and needs neither a debugger nor a wrapper.
 *
 * It includes no headers: the compiler inside Bun builds it on machines that have none. Linux with glibc only.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

/* What the C library gives. */
extern i64 pwrite64(int fd, const void *bytes, u64 length, i64 offset);
extern i64 write(int fd, const void *bytes, u64 length);
extern i64 writev(int fd, const void *parts, int count);
extern int ftruncate64(int fd, i64 length);
extern int fallocate(int fd, int mode, i64 offset, i64 length);
extern int fsync(int fd);
extern int fdatasync(int fd);
extern int open64(const char *path, int flags, ...);
extern int openat(int folder, const char *path, int flags, ...);
extern int unlink(const char *path);
extern int rename(const char *from, const char *to);
extern int access(const char *path, int mode);
extern i64 lseek64(int fd, i64 offset, int whence);
extern i64 readlink(const char *path, char *target, u64 size);
extern void *realloc(void *block, u64 size);
extern void *memcpy(void *to, const void *from, u64 length);
extern int strncmp(const char *a, const char *b, u64 length);
extern u64 strlen(const char *text);
extern int strcmp(const char *a, const char *b);
extern int *__errno_location(void);
extern int mprotect(void *start, u64 length, int protection);
extern i64 sysconf(int name);
extern int pthread_mutex_lock(void *mutex);
extern int pthread_mutex_unlock(void *mutex);

/* The parts of ELF that are needed, as elf.h and link.h have them on 64-bit machines. */
struct segment { u32 type, flags; u64 offset, address, physical, file_size, memory_size, alignment; };
struct dynamic { i64 tag; u64 value; };
struct relocation { u64 offset; u32 type, symbol; i64 addend; };
struct symbol { u32 name; u8 info, other; unsigned short section; u64 value, size; };
struct program { u64 base; const char *name; const struct segment *segments; unsigned short segment_count; };
extern int dl_iterate_phdr(int (*visit)(struct program *, u64, void *), void *data);

#if defined(__x86_64__)
#define IS_POINTER(type) ((type) == 1 || (type) == 6 || (type) == 7)
#elif defined(__aarch64__)
#define IS_POINTER(type) ((type) == 257 || (type) == 1025 || (type) == 1026)
#else
#define IS_POINTER(type) 0
#endif

enum { SEGMENT_DYNAMIC = 2, PROTECT_READ_WRITE = 3, NAME_PAGE_SIZE = 30 };
enum { TAG_PLT_SIZE = 2, TAG_STRINGS = 5, TAG_SYMBOLS = 6, TAG_RELA = 7, TAG_RELA_SIZE = 8, TAG_PLT = 23 };
enum { OPEN_CREATES = 0x40, OPEN_TRUNCATES = 0x200, SEEK_CURRENT = 1, PATH_MAX = 4096 };

/* The kinds of records, and the bits of a fault. The reader in disk-recorder.ts has the same list. */
enum { WRITE = 1, TRUNCATE = 2, SYNC = 4, CREATE = 8, UNLINK = 16, RENAME = 32, UNMODELLED = 64 };

struct record { u32 kind, path_length; i64 offset; u64 length, data_length; };

static long mutex[16];
static char root[PATH_MAX];
static u64 root_length;
static int is_recording, skips_syncs;
static u8 *log_start;
static u64 log_length, log_capacity, log_count;
static u32 fault_kinds;
static int fault_errno;
static i64 fault_after, fault_left;
static int fault_is_short;

static int is_below_root(const char *path) {
  return root_length > 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

/* The path of an open file, if it is below the root. */
static int path_of(int fd, char *path) {
  char link[32] = "/proc/self/fd/", digits[12];
  int at = 14, count = 0;
  int saved = *__errno_location();
  i64 length;
  if (fd < 0 || root_length == 0) return 0;
  do digits[count++] = '0' + fd % 10; while ((fd /= 10) > 0);
  while (count > 0) link[at++] = digits[--count];
  link[at] = 0;
  length = readlink(link, path, PATH_MAX - 1);
  *__errno_location() = saved;
  if (length <= 0) return 0;
  path[length] = 0;
  return is_below_root(path);
}

static void note(u32 kind, const char *path, i64 offset, u64 length, const void *data, u64 data_length) {
  struct record *record;
  u64 path_length = strlen(path);
  u64 size = (sizeof(struct record) + path_length + data_length + 7) & ~7ul;
  int saved = *__errno_location();
  if (!is_recording) return;
  pthread_mutex_lock(mutex);
  if (log_length + size > log_capacity) {
    log_capacity = (log_length + size) * 2;
    log_start = realloc(log_start, log_capacity);
  }
  record = (struct record *)(log_start + log_length);
  record->kind = kind;
  record->path_length = path_length;
  record->offset = offset;
  record->length = length;
  record->data_length = data_length;
  memcpy(record + 1, path, path_length);
  memcpy((u8 *)(record + 1) + path_length, data, data_length);
  log_length += size;
  log_count++;
  pthread_mutex_unlock(mutex);
  *__errno_location() = saved;
}

/* Whether this call is to fail; errno is set then. */
static int fails(u32 kind) {
  if ((fault_kinds & kind) == 0) return 0;
  if (fault_after > 0) { fault_after--; return 0; }
  if (fault_left == 0) return 0;
  if (fault_left > 0) fault_left--;
  *__errno_location() = fault_errno;
  return 1;
}

static i64 on_pwrite64(int fd, const void *bytes, u64 length, i64 offset) {
  char path[PATH_MAX];
  i64 written;
  if (!path_of(fd, path)) return pwrite64(fd, bytes, length, offset);
  if (fails(WRITE)) {
    /* A full disk often takes the first part of a write and refuses the rest. */
    if (!fault_is_short || length < 2) return -1;
    length /= 2;
  }
  written = pwrite64(fd, bytes, length, offset);
  if (written > 0) note(WRITE, path, offset, written, bytes, written);
  return written;
}

static i64 on_write(int fd, const void *bytes, u64 length) {
  char path[PATH_MAX];
  i64 offset, written;
  if (!path_of(fd, path)) return write(fd, bytes, length);
  if (fails(WRITE)) return -1;
  written = write(fd, bytes, length);
  offset = lseek64(fd, 0, SEEK_CURRENT) - written;
  if (written > 0) note(offset < 0 ? UNMODELLED : WRITE, path, offset, written, bytes, written);
  return written;
}

static i64 on_writev(int fd, const void *parts, int count) {
  char path[PATH_MAX];
  if (path_of(fd, path)) note(UNMODELLED, path, 0, count, 0, 0);
  return writev(fd, parts, count);
}

static int on_fallocate(int fd, int mode, i64 offset, i64 length) {
  char path[PATH_MAX];
  if (path_of(fd, path)) note(UNMODELLED, path, offset, length, 0, 0);
  return fallocate(fd, mode, offset, length);
}

static int on_ftruncate(int fd, i64 length) {
  char path[PATH_MAX];
  int result;
  if (!path_of(fd, path)) return ftruncate64(fd, length);
  if (fails(TRUNCATE)) return -1;
  result = ftruncate64(fd, length);
  if (result == 0) note(TRUNCATE, path, 0, length, 0, 0);
  return result;
}

static int sync_by(int (*sync)(int), int fd) {
  char path[PATH_MAX];
  int result;
  if (!path_of(fd, path)) return sync(fd);
  if (fails(SYNC)) return -1;
  result = skips_syncs ? 0 : sync(fd);
  if (result == 0) note(SYNC, path, 0, 0, 0, 0);
  return result;
}

static int on_fsync(int fd) { return sync_by(fsync, fd); }
static int on_fdatasync(int fd) { return sync_by(fdatasync, fd); }

static int after_open(const char *path, int flags, int existed, int fd) {
  if (fd < 0) return fd;
  if (!existed) note(CREATE, path, 0, 0, 0, 0);
  else if (flags & OPEN_TRUNCATES) note(TRUNCATE, path, 0, 0, 0, 0);
  return fd;
}

static int on_open(const char *path, int flags, u32 mode) {
  int existed;
  if (!(flags & (OPEN_CREATES | OPEN_TRUNCATES)) || !is_below_root(path)) return open64(path, flags, mode);
  existed = access(path, 0) == 0;
  if (!existed && fails(CREATE)) return -1;
  return after_open(path, flags, existed, open64(path, flags, mode));
}

static int on_openat(int folder, const char *path, int flags, u32 mode) {
  int existed;
  if (!(flags & (OPEN_CREATES | OPEN_TRUNCATES)) || !is_below_root(path)) return openat(folder, path, flags, mode);
  existed = access(path, 0) == 0;
  if (!existed && fails(CREATE)) return -1;
  return after_open(path, flags, existed, openat(folder, path, flags, mode));
}

static int on_unlink(const char *path) {
  int result;
  if (!is_below_root(path)) return unlink(path);
  if (fails(UNLINK)) return -1;
  result = unlink(path);
  if (result == 0) note(UNLINK, path, 0, 0, 0, 0);
  return result;
}

static int on_rename(const char *from, const char *to) {
  int result;
  if (!is_below_root(from)) return rename(from, to);
  if (fails(RENAME)) return -1;
  result = rename(from, to);
  if (result == 0) note(RENAME, from, 0, 0, to, strlen(to));
  return result;
}

static const struct { const char *name; void *ours; } replacements[] = {
  { "pwrite64", on_pwrite64 }, { "pwrite", on_pwrite64 }, { "write", on_write }, { "writev", on_writev },
  { "ftruncate64", on_ftruncate }, { "ftruncate", on_ftruncate }, { "fallocate", on_fallocate },
  { "fsync", on_fsync }, { "fdatasync", on_fdatasync }, { "open64", on_open }, { "open", on_open },
  { "openat", on_openat }, { "unlink", on_unlink }, { "rename", on_rename },
};

enum { SLOTS_MAX = 128 };
static struct { void **slot; void *theirs; void *ours; } slots[SLOTS_MAX];
static int slot_count;

static void take_table(u64 base, const struct relocation *table, u64 size, const struct symbol *symbols, const char *strings) {
  u64 i, r;
  for (i = 0; i < size / sizeof(struct relocation); i++) {
    const char *name = strings + symbols[table[i].symbol].name;
    if (!IS_POINTER(table[i].type) || table[i].symbol == 0 || table[i].addend != 0) continue;
    for (r = 0; r < sizeof(replacements) / sizeof(replacements[0]); r++) {
      if (strcmp(name, replacements[r].name) != 0 || slot_count == SLOTS_MAX) continue;
      slots[slot_count].slot = (void **)(base + table[i].offset);
      slots[slot_count].theirs = *slots[slot_count].slot;
      slots[slot_count].ours = replacements[r].ours;
      slot_count++;
    }
  }
}

/* The first program that is visited is the one that runs; the libraries after it are left alone. */
static int visit(struct program *program, u64 size, void *data) {
  u64 tags[24] = { 0 };
  int i;
  for (i = 0; i < program->segment_count; i++) {
    const struct dynamic *entry;
    if (program->segments[i].type != SEGMENT_DYNAMIC) continue;
    for (entry = (void *)(program->base + program->segments[i].address); entry->tag != 0; entry++)
      if (entry->tag > 0 && entry->tag < 24) tags[entry->tag] = entry->value;
  }
#define POINTER(tag) (void *)(tags[tag] < program->base ? tags[tag] + program->base : tags[tag])
  if (tags[TAG_SYMBOLS] == 0 || tags[TAG_STRINGS] == 0) return 1;
  if (tags[TAG_RELA] != 0)
    take_table(program->base, POINTER(TAG_RELA), tags[TAG_RELA_SIZE], POINTER(TAG_SYMBOLS), POINTER(TAG_STRINGS));
  if (tags[TAG_PLT] != 0)
    take_table(program->base, POINTER(TAG_PLT), tags[TAG_PLT_SIZE], POINTER(TAG_SYMBOLS), POINTER(TAG_STRINGS));
  return 1;
}

static int put(void **slot, void *function) {
  u64 page = sysconf(NAME_PAGE_SIZE);
  u64 start = (u64)slot & ~(page - 1);
  /* The linker may have made the table read-only once it had filled it in. */
  if (mprotect((void *)start, page, PROTECT_READ_WRITE) != 0) return 0;
  *slot = function;
  return 1;
}

/* Puts itself between; says how many entries it replaced. */
int disk_install(void) {
  int i, replaced = 0;
  if (slot_count == 0) dl_iterate_phdr(visit, 0);
  for (i = 0; i < slot_count; i++) replaced += put(slots[i].slot, slots[i].ours);
  return replaced;
}

void disk_uninstall(void) {
  int i;
  for (i = 0; i < slot_count; i++) put(slots[i].slot, slots[i].theirs);
}

/* From now on only what happens below this folder is seen; an empty path means nothing is. */
void disk_watch(const char *path) {
  root_length = 0;
  memcpy(root, path, strlen(path) + 1);
  root_length = strlen(path);
}

void disk_record(int on) { is_recording = on; }

/* Syncs are answered and not done: for states that are looked at once and thrown away. */
void disk_skip_syncs(int on) { skips_syncs = on; }

/* Calls of these kinds fail with this errno: after so many that succeed, and so many times; -1 for ever. */
void disk_fail(int kinds, int number, int after, int times, int is_short) {
  fault_kinds = 0;
  fault_errno = number;
  fault_after = after;
  fault_left = times;
  fault_is_short = is_short;
  fault_kinds = kinds;
}

i64 disk_count(void) { return log_count; }
i64 disk_length(void) { return log_length; }
void *disk_log(void) { return log_start; }
void disk_clear(void) { log_length = 0; log_count = 0; }
