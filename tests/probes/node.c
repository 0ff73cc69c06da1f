/* Makes the device node of /dev/zero at the given path. */
#include <sys/stat.h>
#include <sys/sysmacros.h>
int main(int count, char **words) { return count < 2 || mknod(words[1], S_IFCHR | 0666, makedev(1, 5)); }
