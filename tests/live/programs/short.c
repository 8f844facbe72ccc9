// A client that lives for a few milliseconds: statically linked, one GET, no
// library but libc. Usage: short PORT TARGET
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char buffer[65536];
	ssize_t got;
	int fd, length;

	if (argc != 3)
		return 2;
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return 1;
	length = snprintf(buffer, sizeof(buffer),
			  "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", argv[2]);
	if (write(fd, buffer, length) != length)
		return 1;
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		;
	return got < 0;
}
