/*
 * A client and a server in one process, each in a thread, that send and
 * receive one POST by every system call there is for it. Each body names the
 * two calls and says what must be seen. Prints nothing; exit 0.
 *
 *     syscalls PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALLS 6
static const char *names[CALLS] = { "write-read",     "writev-readv",     "sendto-recvfrom",
				    "sendmsg-recvmsg", "sendmmsg-recvmmsg", "pwritev2-preadv2" };
static int listener;

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

/* Sends `size` bytes in several segments by call number `call`. */
static void transmit(int fd, int call, char *data, size_t size)
{
	size_t third = size / 3;
	struct iovec parts[4] = { { data, third },
				  { data, 0 },
				  { data + third, third },
				  { data + 2 * third, size - 2 * third } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 4 };
	struct mmsghdr messages[3] = {
		{ .msg_hdr = { .msg_iov = parts, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = parts + 2, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = parts + 3, .msg_iovlen = 1 } },
	};
	ssize_t n = -1;

	switch (call) {
	case 0:
		n = write(fd, data, size);
		break;
	case 1:
		n = writev(fd, parts, 4);
		break;
	case 2:
		n = sendto(fd, data, size, 0, NULL, 0);
		break;
	case 3:
		n = sendmsg(fd, &message, 0);
		break;
	case 4:
		check(sendmmsg(fd, messages, 3, 0) == 3, "sendmmsg");
		return;
	case 5:
		n = pwritev2(fd, parts, 4, -1, 0);
		break;
	}
	check(n == (ssize_t)size, "send");
}

/* Receives at least one byte into two segments by call number `call`. */
static size_t receive(int fd, int call, char *data, size_t room)
{
	struct iovec parts[2] = { { data, 7 }, { data + 7, room - 7 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	struct iovec pieces[2] = { { data, 5 }, { data + 5, room - 5 } };
	struct mmsghdr messages[2] = {
		{ .msg_hdr = { .msg_iov = pieces, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = pieces + 1, .msg_iovlen = 1 } },
	};
	ssize_t n = -1;
	int count;

	switch (call) {
	case 0:
		n = read(fd, data, room);
		break;
	case 1:
		n = readv(fd, parts, 2);
		break;
	case 2:
		/* What is only looked at is not received. */
		check(recv(fd, data, room, MSG_PEEK) > 0, "MSG_PEEK");
		n = recvfrom(fd, data, room, 0, NULL, NULL);
		break;
	case 3:
		n = recvmsg(fd, &message, 0);
		break;
	case 4:
		count = recvmmsg(fd, messages, 2, MSG_WAITFORONE, NULL);
		check(count > 0, "recvmmsg");
		n = messages[0].msg_len + (count > 1 ? messages[1].msg_len : 0);
		break;
	case 5:
		n = preadv2(fd, parts, 2, -1, 0);
		break;
	}
	check(n >= 0, "receive");
	return n;
}

/* Reads one message: a head and ten bytes more than its name is long. */
static void read_message(int fd, int call, const char *tail)
{
	char buffer[4096] = { 0 };
	size_t got = 0;

	while (!strstr(buffer, tail)) {
		size_t n = receive(fd, call, buffer + got, sizeof(buffer) - 1 - got);

		check(n > 0, "unexpected end");
		got += n;
	}
}

static void *serve(void *unused)
{
	(void)unused;
	for (int call = 0; call < CALLS; call++) {
		int fd = accept(listener, NULL, NULL);
		char tail[64], answer[256];

		check(fd >= 0, "accept");
		snprintf(tail, sizeof(tail), "<%s>", names[call]);
		read_message(fd, call, tail);
		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\nanswer %s",
			 strlen(names[call]) + 7, names[call]);
		transmit(fd, call, answer, strlen(answer));
		close(fd);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	pthread_t server;
	int on = 1;

	check(count == 2, "syscalls PORT");
	address.sin_port = htons(atoi(arguments[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	check(bind(listener, (void *)&address, sizeof(address)) == 0, "bind");
	check(listen(listener, 8) == 0, "listen");
	pthread_create(&server, NULL, serve, NULL);
	for (int call = 0; call < CALLS; call++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		char request[512], tail[64];

		check(connect(fd, (void *)&address, sizeof(address)) == 0, "connect");
		snprintf(request, sizeof(request),
			 "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n<%s>",
			 names[call], strlen(names[call]) + 2, names[call]);
		transmit(fd, call, request, strlen(request));
		snprintf(tail, sizeof(tail), "answer %s", names[call]);
		read_message(fd, call, tail);
		close(fd);
	}
	pthread_join(server, NULL);
	return 0;
}
