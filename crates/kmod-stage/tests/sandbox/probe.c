/* Tries one thing a confined program should not get, and says with its exit code how that went:
 * 0 it was allowed, else the errno of the refusal. 200 is a mistake of the caller. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;

static int said(long answer) { return answer < 0 ? errno : 0; }

static void *thread(void *unused) { return unused; }

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";
	if (!strcmp(what, "argv0")) { fputs(argv[0], stderr); return 0; }
	if (!strcmp(what, "read")) return said(open(arg, O_RDONLY));
	if (!strcmp(what, "write")) {
		int fd = open(arg, O_WRONLY | O_CREAT, 0644);
		return fd < 0 ? errno : said(write(fd, "x", 1));
	}
	if (!strcmp(what, "mkdir")) return said(mkdir(arg, 0755));
	if (!strcmp(what, "symlink")) return said(symlink("/etc/passwd", arg));
	if (!strcmp(what, "fifo")) return said(mkfifo(arg, 0644));
	if (!strcmp(what, "chmod")) return said(chmod(arg, 04777));
	if (!strcmp(what, "rename")) return said(rename(arg, "/tmp/stolen"));
	if (!strcmp(what, "socket")) return said(socket(AF_INET, SOCK_STREAM, 0));
	if (!strcmp(what, "unix-socket")) return said(socket(AF_UNIX, SOCK_STREAM, 0));
	if (!strcmp(what, "fork")) return said(fork());
	if (!strcmp(what, "clone")) return said(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	if (!strcmp(what, "thread")) { pthread_t t; return pthread_create(&t, NULL, thread, NULL); }
	if (!strcmp(what, "kill")) return said(kill(atoi(arg), SIGKILL));
	if (!strcmp(what, "ptrace")) return said(ptrace(PTRACE_TRACEME, 0, 0, 0));
	if (!strcmp(what, "mount")) return said(mount("none", "/", "tmpfs", 0, NULL));
	if (!strcmp(what, "unshare")) return said(syscall(SYS_unshare, 0x10000000));
	if (!strcmp(what, "bpf")) return said(syscall(SYS_bpf, 0, NULL, 0));
	if (!strcmp(what, "keyctl")) return said(syscall(SYS_keyctl, 0, -3, 0));
	if (!strcmp(what, "io_uring")) return said(syscall(425, 1, NULL));
	if (!strcmp(what, "userfaultfd")) return said(syscall(SYS_userfaultfd, 1));
	if (!strcmp(what, "perf")) return said(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	if (!strcmp(what, "settime")) { struct timeval t = {1, 0}; return said(settimeofday(&t, NULL)); }
#ifdef __x86_64__
	if (!strcmp(what, "x32-getpid")) return said(syscall(0x40000000 + 39));
#else
	if (!strcmp(what, "x32-getpid")) return ENOSYS;
#endif
	if (!strcmp(what, "allocate")) {
		size_t size = strtoull(arg, NULL, 10);
		char *memory = malloc(size);
		if (!memory) return errno;
		memset(memory, 1, size);
		return memory[size / 2] == 1 ? 0 : 200;
	}
	if (!strcmp(what, "big-file")) {
		signal(SIGXFSZ, SIG_IGN);
		int fd = open(arg, O_WRONLY | O_CREAT, 0644);
		return fd < 0 ? errno : said(ftruncate(fd, 1L << 30));
	}
	if (!strcmp(what, "open-files")) {
		for (int i = 0; i < atoi(arg); i++)
			if (open(argv[3], O_RDONLY) < 0) return errno;
		return 0;
	}
	if (!strcmp(what, "sleep")) { sleep(1000); return 0; }
	if (!strcmp(what, "sleep-silently")) { close(2); sleep(1000); return 0; }
	if (!strcmp(what, "spin")) for (;;) { }
	if (!strcmp(what, "spin-deaf")) { signal(SIGXCPU, SIG_IGN); for (;;) { } }
	if (!strcmp(what, "crash")) { *(volatile int *)8 = 1; return 0; }
	if (!strcmp(what, "flood")) { for (int i = 0; i < 100000; i++) fputs("flood\n", stderr); return 3; }
	if (!strcmp(what, "environment")) { int n = 0; while (environ[n]) n++; return n; }
	if (!strcmp(what, "descriptors")) {
		int n = 0;
		for (int fd = 3; fd < 250; fd++) n += fcntl(fd, F_GETFD) >= 0;
		return n;
	}
	if (!strcmp(what, "capabilities")) {
		struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct data[2];
		if (syscall(SYS_capget, &header, data)) return 200;
		return (data[0].permitted | data[1].permitted | data[0].effective) != 0;
	}
	if (!strcmp(what, "identity")) {
		char host[64] = "";
		gethostname(host, sizeof host - 1);
		fprintf(stderr, "pid %d host %s\n", (int)getpid(), host);
		return 0;
	}
	if (!strcmp(what, "list")) {
		struct dirent *entry;
		DIR *directory = opendir(arg);
		if (!directory) return errno;
		while ((entry = readdir(directory)))
			if (entry->d_name[0] != '.') fprintf(stderr, "%s\n", entry->d_name);
		return 0;
	}
	return 200;
}
