/* PID 1 of the test machines: mounts the disk, does the step named on the kernel's command line, says what it found
 * on the console and powers off. Everything is looked at through the kernel's own ext4. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define RESIZE_FS _IOW('f', 16, __u64)
#define DEVICE "/dev/nvme0n1"

static void stop(const char *what)
{
	printf("STOP %s: %s\n", what, strerror(errno));
	fflush(stdout);
	reboot(RB_POWER_OFF);
}

static void look_up(int count)
{
	char path[64];
	struct stat st;
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "/disk/many/name-%06d", i);
		if (lstat(path, &st))
			stop(path);
	}
	printf("FOUND %d\n", count);
}

static void look_up_listed(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	struct stat st;
	int count = 0;
	if (!dir || chdir(folder))
		stop(folder);
	while ((entry = readdir(dir))) {
		if (lstat(entry->d_name, &st))
			stop("a listed name");
		if (entry->d_name[0] != '.')
			count++;
	}
	closedir(dir);
	if (chdir("/"))
		stop("chdir");
	printf("LISTED %d\n", count);
}

static void list_attributes(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	if (!dir)
		stop(folder);
	while ((entry = readdir(dir))) {
		static char path[600], names[8192], value[65536];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		ssize_t length = llistxattr(path, names, sizeof names);
		if (length < 0)
			stop("listxattr");
		for (char *name = names; name < names + length; name += strlen(name) + 1) {
			ssize_t size = lgetxattr(path, name, value, sizeof value);
			if (size < 0)
				stop(name);
			printf("XATTR %s %s ", entry->d_name, name);
			for (ssize_t i = 0; i < size; i++)
				printf("%02x", (unsigned char)value[i]);
			printf("\n");
		}
	}
	closedir(dir);
}

static void make_files(const char *folder, int count)
{
	char path[600];
	if (mkdir(folder, 0755) && errno != EEXIST)
		stop(folder);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/new-name-that-is-long-%d", folder, i);
		int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
		if (fd < 0 || write(fd, path, strlen(path)) < 0)
			stop(path);
		close(fd);
	}
}

static void grow(void)
{
	struct statvfs before, after;
	__u64 blocks = 20ull << 18;
	int fd = open("/disk", O_RDONLY);
	statvfs("/disk", &before);
	if (ioctl(fd, RESIZE_FS, &blocks))
		stop("resize");
	close(fd);
	statvfs("/disk", &after);
	printf("GREW %llu %llu\n", (unsigned long long)before.f_blocks, (unsigned long long)after.f_blocks);
	make_files("/disk/grown", 2000);
}

int main(void)
{
	const char *step = getenv("step");
	mkdir("/dev", 0755);
	mount("dev", "/dev", "devtmpfs", 0, "");
	mkdir("/disk", 0755);
	for (int i = 0; access(DEVICE, F_OK) && i < 100; i++)
		usleep(50000);
	if (mount(DEVICE, "/disk", "ext4", 0, ""))
		stop("mount");
	if (!step)
		stop("no step");
	if (!strcmp(step, "look")) {
		look_up(100000);
		look_up_listed("/disk/collide");
		list_attributes("/disk/attrs");
		make_files("/disk/many", 500);
		if (unlink("/disk/many/name-000007") || rename("/disk/many/name-000008", "/disk/moved"))
			stop("change");
	} else if (!strcmp(step, "grow")) {
		grow();
	} else if (!strcmp(step, "dirty")) {
		make_files("/disk/dirty", 1000);
		int fd = open("/disk", O_RDONLY);
		if (syncfs(fd))
			stop("syncfs");
		printf("DIRTY\n");
		fflush(stdout);
		for (;;)
			make_files("/disk/more", 1000);
	} else if (!strcmp(step, "replay")) {
		struct stat st;
		if (stat("/disk/dirty/new-name-that-is-long-999", &st))
			stop("the synced file");
	}
	if (umount("/disk"))
		stop("umount");
	printf("DONE %s\n", step);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
