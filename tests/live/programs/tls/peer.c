// A small HTTP/1.1 client and server on a TLS library, one file of which is
// linked to this one.
//
//     peer server STYLE CERTIFICATE KEY FOLDER
//         serves the files of FOLDER, one connection after another, and echoes
//         POST; prints its port when it accepts connections, and after each
//         connection “end N”, N being the calls that had to be repeated
//     peer client STYLE CERTIFICATE PORT TARGET…
//     peer client STYLE CERTIFICATE PORT --post FOLDER TARGET…
//         gets the targets on one connection, or posts FOLDER's files of these
//         names, and keeps what it got in the files 0, 1, … of its directory;
//         prints “port N”, its own, “done” after each exchange, and “end N”
//     peer client STYLE CERTIFICATE PORT --step TARGET…
//         waits for a line of its stdin before each target
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *style;
unsigned long agains;

void fail(const char *what, long code)
{
	fprintf(stderr, "%s: %ld, errno %s\n", what, code, strerror(errno));
	exit(1);
}

void await(int fd, bool write)
{
	struct pollfd poll_fd = { .fd = fd, .events = write ? POLLOUT : POLLIN };

	agains++;
	if (poll(&poll_fd, 1, 30000) != 1)
		fail("poll", errno);
}

struct stream {
	void *tls;
	int fd;
	// What was received and not yet taken.
	char buffer[70000];
	size_t start, end;
	unsigned turn;
};

// Receives more; every call asks for another size.
static bool more(struct stream *stream)
{
	static const size_t sizes[] = { 1, 5, 977, 16384, 16385, 60000 };
	size_t size = sizes[stream->turn++ % (sizeof(sizes) / sizeof(sizes[0]))];
	size_t got;

	memmove(stream->buffer, stream->buffer + stream->start, stream->end - stream->start);
	stream->end -= stream->start;
	stream->start = 0;
	if (size > sizeof(stream->buffer) - stream->end)
		size = sizeof(stream->buffer) - stream->end;
	got = tls_receive(stream->tls, stream->buffer + stream->end, size);
	stream->end += got;
	return got > 0;
}

// The head of a message as a string, or NULL at the end of the connection.
static char *receive_head(struct stream *stream)
{
	static char head[16384];

	for (;;) {
		char *from = stream->buffer + stream->start;
		char *end = memmem(from, stream->end - stream->start, "\r\n\r\n", 4);

		if (end) {
			size_t length = end + 4 - from;

			if (length >= sizeof(head))
				fail("head", length);
			memcpy(head, from, length);
			head[length] = 0;
			stream->start += length;
			return head;
		}
		if (!more(stream)) {
			if (stream->start != stream->end)
				fail("end within a head", 0);
			return NULL;
		}
	}
}

static size_t content_length(const char *head)
{
	const char *field = strcasestr(head, "\r\ncontent-length:");

	return field ? strtoul(field + 17, NULL, 10) : 0;
}

static char *receive_body(struct stream *stream, size_t length)
{
	char *body = malloc(length + 1);
	size_t got = 0;

	while (got < length) {
		size_t there = stream->end - stream->start;

		if (there > length - got)
			there = length - got;
		memcpy(body + got, stream->buffer + stream->start, there);
		stream->start += there;
		got += there;
		if (got < length && stream->start == stream->end && !more(stream))
			fail("end within a body", got);
	}
	return body;
}

static int open_file(const char *folder, const char *target, size_t *length)
{
	const char *name = strrchr(target, '/');
	struct stat status;
	char path[4096];
	int file;

	snprintf(path, sizeof(path), "%s/%s", folder, name ? name + 1 : target);
	file = open(path, O_RDONLY);
	if (file < 0 || fstat(file, &status))
		fail(path, errno);
	*length = status.st_size;
	return file;
}

static char *read_file(const char *folder, const char *target, size_t *length)
{
	int file = open_file(folder, target, length);
	char *content = malloc(*length + 1);

	if (read(file, content, *length) != (ssize_t)*length)
		fail(target, errno);
	close(file);
	return content;
}

static void prepare(int fd)
{
	int one = 1, small = 4608;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (strstr(style, "nonblocking")) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	}
}

static void serve(struct stream *stream, const char *folder)
{
	char *head;

	while ((head = receive_head(stream))) {
		char method[16], target[4096], answer[256], *body;
		size_t length;
		int size;

		if (sscanf(head, "%15s %4095s", method, target) != 2)
			fail("request", 0);
		if (!strcmp(method, "POST")) {
			length = content_length(head);
			body = receive_body(stream, length);
		} else {
			body = NULL;
			close(open_file(folder, target, &length));
		}
		size = snprintf(answer, sizeof(answer),
				"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
				"Content-Length: %zu\r\n\r\n", length);
		tls_send(stream->tls, answer, size);
		if (!body) {
			int file = open_file(folder, target, &length);

			tls_send_file(stream->tls, file, length);
			close(file);
		} else if (length) {
			tls_send(stream->tls, body, length);
		}
		free(body);
	}
}

static void server(const char *folder)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64) ||
	    getsockname(listener, (struct sockaddr *)&address, &size))
		fail("listen", errno);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		struct stream stream = { .fd = accept(listener, NULL, NULL) };

		if (stream.fd < 0)
			fail("accept", errno);
		prepare(stream.fd);
		stream.tls = tls_open(true, stream.fd);
		serve(&stream, folder);
		tls_close(stream.tls);
		close(stream.fd);
		printf("end %lu\n", agains);
		fflush(stdout);
	}
}

static void client(int port, int count, char **targets)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct stream stream = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	socklen_t address_size = sizeof(address);
	const char *folder = NULL;
	bool steps = false;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(stream.fd, (struct sockaddr *)&address, sizeof(address)) ||
	    getsockname(stream.fd, (struct sockaddr *)&address, &address_size))
		fail("connect", errno);
	printf("port %d\n", ntohs(address.sin_port));
	prepare(stream.fd);
	stream.tls = tls_open(false, stream.fd);
	if (count > 1 && !strcmp(targets[0], "--post")) {
		folder = targets[1];
		targets += 2;
		count -= 2;
	} else if (!strcmp(targets[0], "--step")) {
		steps = true;
		targets++;
		count--;
	}
	for (int number = 0; number < count; number++) {
		char request[8192], name[16], line[16], *head, *body = NULL;
		size_t length = 0;
		int size;
		FILE *kept;

		fflush(stdout);
		if (steps && !fgets(line, sizeof(line), stdin))
			fail("stdin", number);
		if (folder)
			body = read_file(folder, targets[number], &length);
		size = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: localhost\r\n",
				folder ? "POST" : "GET", targets[number]);
		if (folder)
			size += snprintf(request + size, sizeof(request) - size,
					 "Content-Length: %zu\r\n", length);
		size += snprintf(request + size, sizeof(request) - size, "\r\n");
		tls_send(stream.tls, request, size);
		if (length)
			tls_send(stream.tls, body, length);
		free(body);

		head = receive_head(&stream);
		if (!head || strncmp(head, "HTTP/1.1 200 ", 13))
			fail("answer", number);
		length = content_length(head);
		body = receive_body(&stream, length);
		snprintf(name, sizeof(name), "%d", number);
		kept = fopen(name, "w");
		if (!kept || fwrite(body, 1, length, kept) != length || fclose(kept))
			fail(name, errno);
		free(body);
		printf("done\n");
	}
	tls_close(stream.tls);
	close(stream.fd);
	printf("end %lu\n", agains);
}

int main(int argc, char **argv)
{
	bool is_server = argc > 1 && !strcmp(argv[1], "server");

	if (argc < 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	style = argv[2];
	tls_init(is_server, argv[3], is_server ? argv[4] : NULL);
	if (is_server)
		server(argv[5]);
	client(atoi(argv[4]), argc - 5, argv + 5);
	return 0;
}
