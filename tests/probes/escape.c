/* Tries to leave a sandbox, or to touch the machine around it, in every way that its author knows.
 *
 * Inside: `escape try SECRET PORT KEY MAJOR MINOR MODE`. One line a try: `held NAME` or
 * `ESCAPED NAME: how`. Outside: `escape host KEY` makes what a sandbox must not see (keys in the
 * kernel's keyrings, a SysV segment, a listener on the loopback, an abstract socket), prints
 * `ready PORT`, and stays until its standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char *secret, *key, *mode;
static int port, tries;

static void held(const char *name) { tries++; printf("held %s\n", name); }
static void escaped(const char *name, const char *how, ...) {
    va_list list;
    va_start(list, how);
    printf("ESCAPED %s: ", name);
    vprintf(how, list);
    printf(" (errno %d)\n", errno);
    va_end(list);
}
/* ok: the attempt worked */
static void verdict(const char *name, int ok, const char *how) {
    if (ok) escaped(name, "%s", how); else held(name);
}
static int opens(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) close(fd);
    return fd >= 0;
}
static int reads(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int got = fd >= 0 && read(fd, &byte, 1) > 0;
    if (fd >= 0) close(fd);
    return got;
}

/* ---- the host's side ---- */

static long raw_keyctl(int command, long a, long b, long c, long d) {
    return syscall(SYS_keyctl, command, a, b, c, d);
}

static int host(const char *name) {
    char text[64];
    key = name;
    long a = syscall(SYS_add_key, "user", key, "secret", 6, -4 /* user keyring */);
    long b = syscall(SYS_add_key, "user", key, "secret", 6, -3 /* session keyring */);
    int segment = shmget(0x0debca5e, 4096, IPC_CREAT | 0666);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof in;
    bind(tcp, (void *)&in, sizeof in);
    listen(tcp, 5);
    getsockname(tcp, (void *)&in, &length);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "%s", key);
    bind(local, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(key));
    listen(local, 5);
    printf("ready %d keys %ld %ld segment %d\n", ntohs(in.sin_port), a, b, segment);
    fflush(stdout);
    while (read(0, text, sizeof text) > 0) ;
    if (a > 0) raw_keyctl(3 /* revoke */, a, 0, 0, 0);
    if (b > 0) raw_keyctl(3, b, 0, 0, 0);
    shmctl(segment, IPC_RMID, 0);
    return 0;
}

/* ---- tries ---- */

static void files(void) {
    char path[4096];
    verdict("host file by its path", opens(secret, O_RDONLY), secret);
    const char *links[] = {"root", "cwd", "exe", 0};
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int open_one = 0;
    while (proc && (entry = readdir(proc))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        for (int i = 0; links[i]; i++) {
            snprintf(path, sizeof path, "/proc/%s/%s%s", entry->d_name, links[i], i < 2 ? secret : "");
            if (i < 2 && opens(path, O_RDONLY)) { escaped("host file below /proc", "%s", path); open_one++; }
        }
    }
    if (proc) closedir(proc);
    if (!open_one) held("host file below /proc");
    verdict("/proc/1/exe", readlink("/proc/1/exe", path, sizeof path) > 0 || opens("/proc/1/exe", O_RDONLY), "visible");
    verdict("/proc/1/root", readlink("/proc/1/root", path, sizeof path) > 0 || opens("/proc/1/root/", O_RDONLY), "visible");
    verdict("/proc/1/cwd", opens("/proc/1/cwd/", O_RDONLY), "visible");
    DIR *fds = opendir("/proc/1/fd");
    int listed = 0;
    /* who may write anywhere may see the numbers, which say nothing */
    while (fds && (entry = readdir(fds))) {
        char target[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/1/fd/%s", entry->d_name);
        listed += readlink(path, target, sizeof target) > 0 || opens(path, O_RDONLY) || opens(path, O_PATH);
    }
    verdict("/proc/1/fd", listed, "a descriptor can be seen or opened");
    if (fds) closedir(fds);
    verdict("/proc/1/mem", opens("/proc/1/mem", O_RDONLY) || opens("/proc/1/mem", O_RDWR), "opens");
    verdict("/proc/1/environ", reads("/proc/1/environ"), "can be read");
    verdict("/proc/1/maps", reads("/proc/1/maps"), "can be read");
    verdict("/proc/1/stack", reads("/proc/1/stack"), "can be read");
    const char *spaces[] = {"net", "mnt", "user", "pid", "ipc", "uts", "cgroup", 0};
    for (int i = 0; spaces[i]; i++) {
        snprintf(path, sizeof path, "/proc/1/ns/%s", spaces[i]);
        int fd = open(path, O_RDONLY);
        verdict(path, fd >= 0 && setns(fd, 0) == 0, "entered");
        if (fd >= 0) close(fd);
    }
    fflush(stdout);
    if (fork() == 0) {
        mkdir("/tmp/jail", 0755);
        int out = open("/", O_RDONLY);
        if (chroot("/tmp/jail") == 0) {
            fchdir(out);
            for (int i = 0; i < 64; i++) chdir("..");
            chroot(".");
        }
        verdict("host file by a double chroot", opens(secret, O_RDONLY), secret);
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    struct { struct file_handle head; unsigned char bytes[128]; } handle;
    int mounted, ok = 0;
    const char *tops[] = {"/", "/etc", "/dev", "/proc", "/sys", "/dev/null", "/tmp", 0};
    for (int i = 0; tops[i]; i++) {
        handle.head.handle_bytes = 128;
        int at = open(tops[i], O_RDONLY | O_NONBLOCK);
        if (name_to_handle_at(AT_FDCWD, tops[i], &handle.head, &mounted, 0) < 0) {
            handle.head.handle_bytes = 8;
            handle.head.handle_type = 1;
        }
        for (int inode = 2; inode < 130; inode += inode == 2 ? 126 : 1) {
            unsigned words[2] = {inode, 0};
            handle.head.handle_bytes = 8;
            handle.head.handle_type = 1;
            memcpy(handle.head.f_handle, words, 8);
            int fd = open_by_handle_at(at, &handle.head, O_RDONLY);
            if (fd >= 0) {
                if (openat(fd, secret + 1, O_RDONLY) >= 0) ok = 1;
                close(fd);
            }
        }
        close(at);
    }
    verdict("host file by handle", ok, "open_by_handle_at reaches it");
}

static void first_process(void) {
    errno = 0;
    verdict("ptrace attach of 1", ptrace(PTRACE_ATTACH, 1, 0, 0) == 0, "attached");
    verdict("ptrace seize of 1", ptrace(PTRACE_SEIZE, 1, 0, 0) == 0, "seized");
    char byte;
    struct iovec ours = {&byte, 1}, theirs = {(void *)0x1000, 1};
    errno = 0;
    long got = process_vm_readv(1, &ours, 1, &theirs, 1, 0);
    verdict("memory of 1", got > 0 || errno == EFAULT, "process_vm_readv may look");
    int pidfd = syscall(SYS_pidfd_open, 1, 0), stolen = 0;
    for (int n = 0; n < 30; n++)
        if (syscall(SYS_pidfd_getfd, pidfd, n, 0) >= 0) stolen = 1;
    verdict("descriptors of 1", stolen, "pidfd_getfd works");
    int signals[] = {SIGKILL, SIGSTOP, SIGTERM, SIGSEGV, SIGCHLD, SIGABRT, SIGQUIT, 0};
    for (int i = 0; signals[i]; i++) kill(1, signals[i]);
    usleep(50000);
    char state[512] = "";
    int fd = open("/proc/1/stat", O_RDONLY);
    if (fd >= 0) { read(fd, state, sizeof state - 1); close(fd); }
    char *end = strrchr(state, ')');
    verdict("signals to 1", !end || strchr("TtZX", end[2]), "it stopped");
}

/* Namespaced settings (the capability to write to files without permission opens the read-only
 * rest, which then refuses every write): they act on the sandbox's own namespaces only. */
static int own_setting(const char *path) {
    const char *own[] = {
        "/proc/sys/net/", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname",
        "/proc/sys/kernel/shm", "/proc/sys/kernel/msg", "/proc/sys/kernel/sem",
        "/proc/sys/kernel/auto_msgmni", "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/pid_max",
        "/proc/sys/user/", "/proc/sys/fs/mqueue/", "/proc/pressure/", 0};
    for (int i = 0; own[i]; i++)
        if (!strncmp(path, own[i], strlen(own[i]))) return 1;
    return 0;
}

static int walk(const char *top, int depth, const char *name) {
    DIR *directory = opendir(top);
    struct dirent *entry;
    int found = 0;
    if (!directory || depth > 12) return 0;
    while ((entry = readdir(directory))) {
        char path[4096];
        struct stat stat;
        if (entry->d_name[0] == '.') continue;
        if (!strcmp(top, "/proc") && (strchr("0123456789", entry->d_name[0]) || !strcmp(entry->d_name, "self") || !strcmp(entry->d_name, "thread-self") || !strcmp(entry->d_name, "net"))) continue;
        snprintf(path, sizeof path, "%s/%s", top, entry->d_name);
        if (lstat(path, &stat) < 0) continue;
        if (S_ISDIR(stat.st_mode)) found += walk(path, depth + 1, name);
        else if (S_ISREG(stat.st_mode) && (stat.st_mode & 0222) && opens(path, O_WRONLY) && (!strcmp(mode, "simple") && strncmp(path, "/proc/pressure/", 15) || !own_setting(path))) {
            escaped(name, "%s opens for writing", path);
            found++;
        }
    }
    closedir(directory);
    return found;
}

static void settings(void) {
    const char *paths[] = {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
        "/proc/sys/kernel/sysrq", "/proc/sysrq-trigger", "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/kernel/dmesg_restrict", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/kcore",
        "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs", "/sys/firmware/efi", "/sys/kernel/mm/transparent_hugepage/enabled", 0};
    for (int i = 0; paths[i]; i++) verdict(paths[i], opens(paths[i], O_WRONLY), "opens for writing");
    if (!walk("/proc", 0, "files of /proc")) held("files of /proc");
    if (!walk("/sys", 0, "files of /sys")) held("files of /sys");
    const char *readable[] = {"/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/proc/kpagecount", 0};
    for (int i = 0; readable[i]; i++) verdict(readable[i], reads(readable[i]), "can be read");
    char log[4096];
    verdict("kernel log", klogctl(3, log, sizeof log) > 0, "klogctl reads it");
}

static void mounts(const char *where) {
    char name[256];
#define TRY(what, call) do { snprintf(name, sizeof name, "%s%s", where, what); verdict(name, (call) == 0, "worked"); } while (0)
    TRY("remount of /sys", mount(0, "/sys", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("remount of /sys/devices/system/cpu", mount(0, "/sys/devices/system/cpu", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("remount of the root with devices", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("umount of /sys", umount2("/sys", MNT_DETACH));
    TRY("umount of /proc", umount2("/proc", MNT_DETACH));
    TRY("umount of /dev", umount2("/dev", MNT_DETACH));
    TRY("umount of /dev/null", umount2("/dev/null", MNT_DETACH));
    if (!strcmp(mode, "simple")) {
        TRY("remount of /proc/sys", mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0));
        TRY("umount of /proc/sys", umount2("/proc/sys", MNT_DETACH));
        TRY("umount of /proc/kcore", umount2("/proc/kcore", MNT_DETACH));
    }
    struct { unsigned long long set, clear, propagation, fd; } attributes = {0, 1, 0, 0};
    TRY("mount_setattr of /sys", syscall(442, AT_FDCWD, "/sys", 0, &attributes, sizeof attributes));
    attributes.clear = 4;
    TRY("mount_setattr of the root", syscall(442, AT_FDCWD, "/", 0, &attributes, sizeof attributes));
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0) { write(fd, text, strlen(text)); close(fd); }
}

static dev_t disk;

static void devices(const char *where) {
    char name[256], path[256];
    const char *folders[] = {"/tmp", "/dev", "/dev/shm", "/root", "/var/tmp", "/mnt", 0};
    for (int i = 0; folders[i]; i++) {
        struct { const char *what; mode_t type; dev_t number; } nodes[] = {
            {"disk", S_IFBLK, disk}, {"mem", S_IFCHR, makedev(1, 1)}, {"kmsg", S_IFCHR, makedev(1, 11)},
            {"tty0", S_IFCHR, makedev(4, 0)}, {"fuse", S_IFCHR, makedev(10, 229)}};
        for (int j = 0; j < 5; j++) {
            snprintf(path, sizeof path, "%s/node.%s", folders[i], nodes[j].what);
            unlink(path);
            int made = mknod(path, nodes[j].type | 0666, nodes[j].number);
            snprintf(name, sizeof name, "%sdevice %s", where, path);
            verdict(name, made == 0 && opens(path, O_RDONLY), "opens");
            unlink(path);
        }
    }
}

/* A user namespace of one's own: what is locked outside of it must stay so. */
static void nested(int extra, const char *where) {
    fflush(stdout);
    int child = fork();
    if (child) { waitpid(child, 0, 0); return; }
    char map[64], name[256];
    int uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | extra) < 0) {
        snprintf(name, sizeof name, "%suser namespace is refused", where);
        held(name);
        fflush(stdout);
        _exit(0);
    }
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", gid);
    write_file("/proc/self/gid_map", map);
    fflush(stdout);
    child = fork();   /* into the new pid namespace, if there is one */
    if (child) { waitpid(child, 0, 0); _exit(0); }
    mounts(where);
    mkdir("/tmp/new", 0755);
    mkdir("/mnt/new", 0755);
    const char *at = access("/mnt/new", F_OK) == 0 ? "/mnt/new" : "/tmp/new";
    char path[256];
    if (mount("proc", at, "proc", 0, 0) == 0) {
        snprintf(path, sizeof path, "%s/sys/kernel/core_pattern", at);
        snprintf(name, sizeof name, "%snew /proc: core_pattern", where);
        verdict(name, opens(path, O_WRONLY), "opens for writing");
        snprintf(path, sizeof path, "%s/sysrq-trigger", at);
        verdict(name, opens(path, O_WRONLY), "sysrq opens for writing");
        umount2(at, MNT_DETACH);
    } else { snprintf(name, sizeof name, "%snew /proc is refused", where); held(name); }
    snprintf(name, sizeof name, "%snew /sys", where);
    if (mount("sysfs", at, "sysfs", 0, 0) == 0) {
        snprintf(path, sizeof path, "%s/kernel", at);
        verdict(name, access(path, F_OK) == 0, "shows the whole machine");
        umount2(at, MNT_DETACH);
    } else held(name);
    const char *groups[] = {"cgroup2", "cgroup", 0};
    for (int i = 0; groups[i]; i++) {
        snprintf(name, sizeof name, "%snew %s", where, groups[i]);
        if (mount(groups[i], at, groups[i], 0, i ? "none,name=debmock-escape" : 0) == 0) {
            snprintf(path, sizeof path, "%s/cgroup.procs", at);
            verdict(name, opens(path, O_WRONLY), "groups of the host open for writing");
            umount2(at, MNT_DETACH);
        } else held(name);
    }
    mount("tmpfs", "/tmp", "tmpfs", 0, 0);
    devices(where);
    snprintf(name, sizeof name, "%shost file", where);
    verdict(name, opens(secret, O_RDONLY), secret);
    snprintf(name, sizeof name, "%s/proc/1/root", where);
    verdict(name, opens("/proc/1/root/", O_RDONLY) && !(extra & CLONE_NEWPID), "visible");
    files();
    fflush(stdout);
    _exit(0);
}

static void network(void) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    verdict("loopback of the host", connect(tcp, (void *)&in, sizeof in) == 0, "connected");
    in.sin_addr.s_addr = inet_addr("192.0.2.1");
    time_t before = time(0);
    verdict("an address elsewhere", connect(tcp, (void *)&in, sizeof in) == 0 || errno != ENETUNREACH || time(0) - before > 1, "not refused at once");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "%s", key);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    verdict("abstract socket of the host", connect(local, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(key)) == 0, "connected");
    struct if_nameindex *list = if_nameindex(), *one;
    int others = 0;
    for (one = list; one && one->if_index; one++) if (strcmp(one->if_name, "lo")) others++;
    verdict("interfaces", others, "there is more than lo");
}

static long call_32(long number, long a, long b, long c, long d) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(0) : "memory", "r8", "r9", "r10", "r11");
    return result;
#else
    return -ENOSYS;
#endif
}

static void keys(void) {
    int rings[] = {-1, -2, -3, -4, -5, 0};
    /* below 4 GiB, for the 32-bit entry */
    char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    strcpy(low, "user");
    strcpy(low + 64, key);
    int found = 0, found_32 = 0, found_x32 = 0;
    for (int i = 0; rings[i]; i++) {
        if (raw_keyctl(10 /* search */, rings[i], (long)low, (long)low + 64, 0) > 0) found = 1;
        if (low != MAP_FAILED && call_32(288, 10, (unsigned)rings[i], (long)low, (long)low + 64) > 0) found_32 = 1;
        if (syscall(SYS_keyctl | 0x40000000, 10, rings[i], (long)low, (long)low + 64, 0) > 0) found_x32 = 1;
    }
    verdict("keys of the host", found, "keyctl finds them");
    fflush(stdout);
    verdict("keys of the host by 32-bit calls", found_32, "keyctl finds them");
    verdict("keys of the host by x32 calls", found_x32, "keyctl finds them");
    char list[65536] = "";
    int fd = open("/proc/keys", O_RDONLY);
    if (fd >= 0) read(fd, list, sizeof list - 1);
    verdict("keys of the host in /proc/keys", strstr(list, key) != 0, "listed");
}

/* Families that no network namespace confines, by every way to make a socket. */
static void families(void) {
    char name[64];
    int *low = mmap((void *)0x20000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (int family = 0; family < 64; family++) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK) continue;
        int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, 0}, made = 0, pair[2];
        for (int i = 0; types[i]; i++) {
            errno = EAFNOSUPPORT;
            made |= socket(family, types[i], 0) >= 0 || errno != EAFNOSUPPORT;
            /* the upper half of a register counts for nothing */
            made |= syscall(SYS_socket, 0x100000000L | family, types[i], 0) >= 0;
            made |= socketpair(family, types[i], 0, pair) == 0;
            made |= call_32(359, family, types[i], 0, 0) >= 0;
            if (low != MAP_FAILED) {
                low[0] = family; low[1] = types[i]; low[2] = 0;
                made |= call_32(102, 1, (long)low, 0, 0) >= 0;
            }
            made |= syscall(SYS_socket | 0x40000000, family, types[i], 0) >= 0;
        }
        snprintf(name, sizeof name, "sockets of family %d", family);
        verdict(name, made, "made");
    }
    char parameters[256] = "";
    errno = 0;
    verdict("rings", syscall(425, 4, parameters) >= 0 || errno != ENOSYS, "not missing");
    errno = 0;
    verdict("rings by 32-bit calls", call_32(425, 4, 0, 0, 0) != -ENOSYS, "not missing");
    int own[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, 0};
    for (int i = 0; own[i]; i++) {
        int fd = socket(own[i], SOCK_DGRAM, 0);
        if (fd < 0) escaped("a family of one's own", "%d is refused", own[i]);
        else close(fd);
    }
}

static void privileges(void) {
    /* in a namespace of processes it ends the first one: nothing after it would be printed */
    fflush(stdout);
    verdict("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0) == 0 || errno != EPERM, "not refused");

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    verdict("clock", clock_settime(CLOCK_REALTIME, &now) == 0, "set");
    errno = 0;
    syscall(SYS_init_module, "", 0, "");
    verdict("kernel modules", errno != EPERM && errno != ENOSYS, "not refused");
    syscall(SYS_kexec_load, 0, 0, 0, 0);
    verdict("kexec", errno != EPERM && errno != ENOSYS, "not refused");
    syscall(SYS_swapoff, "/nonexistent");
    verdict("swap", errno != EPERM, "not refused");
    syscall(SYS_acct, "/nonexistent");
    verdict("accounting", errno != EPERM && errno != ENOSYS, "not refused");
#ifdef __x86_64__
    syscall(SYS_iopl, 3);
    verdict("I/O ports", errno != EPERM && errno != ENOSYS, "not refused");
#endif
    verdict("SysV memory of the host", shmget(0x0debca5e, 4096, 0) >= 0, "found");
    verdict("host name", sethostname("x", 1) == 0 && strcmp(mode, "userns"), "set");
    verdict("nice", setpriority(PRIO_PROCESS, 0, -20) == 0 && !strcmp(mode, "simple"), "raised");
}

static void descriptors(void) {
    DIR *fds = opendir("/proc/self/fd");
    struct dirent *entry;
    int more = 0;
    while (fds && (entry = readdir(fds)))
        if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(fds)) more++;
    closedir(fds);
    verdict("inherited descriptors", more, "more than three");
    verdict("standard input is a directory", openat(0, "..", O_RDONLY) >= 0, "it leads somewhere");
}

static void terminal(void) {
    char letter = 'X';
    verdict("terminal injection", ioctl(0, TIOCSTI, &letter) == 0, "TIOCSTI works");
    verdict("stealing the terminal", ioctl(0, TIOCSCTTY, 1) == 0, "TIOCSCTTY works");
    verdict("stealing the terminal kindly", ioctl(0, TIOCSCTTY, 0) == 0, "TIOCSCTTY works");
    letter = 2;
    verdict("console selection", ioctl(0, TIOCLINUX, &letter) == 0, "TIOCLINUX works");
    verdict("/dev/tty", opens("/dev/tty", O_RDWR), "there is a controlling terminal");
    verdict("/dev/console", opens("/dev/console", O_RDWR), "opens");
}

static void others(void) {
    /* processes of other sessions and of the host */
    int seen = 0;
    for (int pid = 2; pid < 40000; pid++) {
        char path[64], text[4096] = "";
        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        read(fd, text, sizeof text - 1);
        close(fd);
        for (int i = 0; i < 4000; i++) if (!strncmp(text + i, "DEBMOCK_", 8)) seen++;
    }
    verdict("environment of the host", seen || getenv("DEBMOCK_STATE_DIR"), "visible");
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count == 3 && !strcmp(words[1], "host")) return host(words[2]);
    if (count == 2 && !strcmp(words[1], "terminal")) { terminal(); return 0; }
    if (count != 8) return 5;
    secret = words[2]; port = atoi(words[3]); key = words[4];
    disk = makedev(atoi(words[5]), atoi(words[6]));
    mode = words[7];
    descriptors();
    files();
    first_process();
    settings();
    mounts("");
    verdict("new mount namespace", unshare(CLONE_NEWNS) == 0, "made");
    verdict("new network namespace", unshare(CLONE_NEWNET) == 0, "made");
    verdict("mount of a tmpfs", mount("tmpfs", "/mnt", "tmpfs", 0, 0) == 0, "worked");
    verdict("open_tree", syscall(428, AT_FDCWD, "/", 1) >= 0, "copies the root");
    verdict("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp") == 0, "worked");
    verdict("fsopen", syscall(430, "proc", 0) >= 0, "worked");
    devices("");
    network();
    keys();
    families();
    privileges();
    others();
    nested(0, "nested: ");
    nested(CLONE_NEWPID | CLONE_NEWNET, "nested pid, net: ");
    nested(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, "nested all: ");
    printf("tried %d\n", tries);
    return 0;
}
