/* Stands in for the depmod of an image that means no good; MODE says which harm it tries. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int put(const char *directory, const char *name, const char *text) {
	char path[4096];
	snprintf(path, sizeof path, "/lib/modules/%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	if (!file) return errno;
	fputs(text, file);
	return fclose(file);
}

int main(int argc, char **argv) {
	const char *release = argv[argc - 1];
	const char *full = "kernel/a.ko:\nkernel/b.ko.xz: kernel/a.ko\nupdates/c-c.ko.zst:\n";
	char path[4096];
	if (strcmp(argv[0], "depmod")) return 9;
	switch (MODE) {
	case 0: return 0;
	case 1: put(release, "modules.dep", full); return 4;
	case 2: put(release, "modules.dep", full); fputs("depmod: ERROR: no\n", stderr); return 0;
	case 3: put(release, "modules.dep", "kernel/a.ko:\n"); return 0;
	case 4:
		snprintf(path, sizeof path, "/lib/modules/%s/modules.dep", release);
		return mkdir(path, 0755) ? errno : 0;
	case 5: sleep(1000); return 0;
	case 6: return put(release, "modules.dep", "../../etc/passwd:\n");
	case 7:
		put(release, "modules.dep", full);
		put(release, "modules.dep.bin", "binary");
		return put(release, "evil", "extra");
	}
	return 1;
}
