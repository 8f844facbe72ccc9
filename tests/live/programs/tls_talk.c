/*
 * A client and a server in one process, each in a thread, that talk HTTP over
 * TLS by every function of OpenSSL's interface there is for it, one connection
 * or more for each way. The library is loaded from a file and called by the
 * names of its functions, without its headers, so that one program does for
 * every version.
 *
 *     tls_talk LIBSSL CERTIFICATE KEY FOLDER [WAY…]
 *
 * Each end writes what it sent and received, byte by byte, to files of FOLDER:
 * ROLE.WAY.NUMBER.sent and .received. Prints for each way its name and `ok`,
 * or what the library lacks for it. Exit 0.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum reading { READ, READ_EX, PEEK, PEEK_EX, ONE, ZERO };
enum writing { WRITE, WRITE_EX, WRITE_EX2, SENDFILE };
enum flag {
	NONBLOCKING = 1,
	TLS12 = 2,
	/* SSL_MODE_ENABLE_PARTIAL_WRITE. */
	PARTIAL = 4,
	/* The second connection resumes the first, its request is early data. */
	EARLY = 8,
	/* As EARLY, and the server will not have it: it is sent again. */
	REJECT = 4096,
	/* The second connection uses the objects of the first again. */
	CLEAR = 16,
	/* New keys between the requests: renegotiation or a key update. */
	REKEY = 32,
	/* Each message is sent by a thread of its own and read by another. */
	HANDOVER = 64,
	/* The client sends all requests by one thread while another reads. */
	DUPLEX = 128,
	/*
	 * As DUPLEX, but both threads are in the library at once. It does not
	 * promise that this works, and programs do it all the same.
	 */
	AT_ONCE = 2048,
	/* The body of the response ends with the connection. */
	UNTIL_CLOSE = 256,
	/* Kernel TLS. */
	KTLS = 512,
	/* Small bodies only. */
	SMALL = 1024,
};

static const struct way {
	const char *name;
	enum reading reading;
	enum writing writing;
	unsigned flags;
} ways[] = {
	{ "plain", READ, WRITE, 0 },
	{ "plain12", READ, WRITE, TLS12 },
	{ "ex", READ_EX, WRITE_EX, 0 },
	{ "ex2", READ_EX, WRITE_EX2, 0 },
	{ "peek", PEEK, WRITE, 0 },
	{ "peek-ex", PEEK_EX, WRITE_EX, 0 },
	{ "one", ONE, WRITE, SMALL },
	{ "zero", ZERO, WRITE_EX, 0 },
	{ "nonblocking", READ, WRITE, NONBLOCKING },
	{ "nonblocking12", READ_EX, WRITE_EX, NONBLOCKING | TLS12 },
	{ "partial", READ, WRITE, NONBLOCKING | PARTIAL },
	{ "partial-ex", READ_EX, WRITE_EX, NONBLOCKING | PARTIAL },
	{ "early", READ_EX, WRITE_EX, EARLY | SMALL },
	{ "early-nonblocking", READ, WRITE, EARLY | SMALL | NONBLOCKING },
	{ "early-rejected", READ, WRITE, EARLY | REJECT | SMALL },
	{ "clear", READ, WRITE, CLEAR },
	{ "clear12", READ, WRITE, CLEAR | TLS12 },
	{ "renegotiate", READ, WRITE, REKEY | TLS12 },
	{ "key-update", READ, WRITE, REKEY },
	{ "handover", READ, WRITE, HANDOVER },
	{ "duplex", READ, WRITE, DUPLEX },
	{ "duplex12", READ, WRITE, DUPLEX | TLS12 },
	{ "at-once", READ, WRITE, AT_ONCE | TLS12 },
	{ "until-close", READ, WRITE, UNTIL_CLOSE | SMALL },
	{ "ktls", READ, WRITE, KTLS },
	{ "ktls12", READ_EX, WRITE_EX, KTLS | TLS12 },
	{ "sendfile", READ, SENDFILE, KTLS },
	{ "sendfile12", READ, SENDFILE, KTLS | TLS12 },
};

static const size_t all_sizes[] = { 0, 1, 16383, 16384, 16385, 70000, 300000 };
static const size_t small_sizes[] = { 0, 1, 100, 3000 };

/* The functions, and the constants of the headers. */
typedef void SSL;
typedef void SSL_CTX;
#define FUNCTIONS(X)                                                              \
	X(void *, TLS_method, (void))                                             \
	X(SSL_CTX *, SSL_CTX_new, (const void *))                                 \
	X(long, SSL_CTX_ctrl, (SSL_CTX *, int, long, void *))                     \
	X(uint64_t, SSL_CTX_set_options, (SSL_CTX *, uint64_t))                   \
	X(int, SSL_CTX_set_max_early_data, (SSL_CTX *, uint32_t))                 \
	X(int, SSL_CTX_use_certificate_file, (SSL_CTX *, const char *, int))      \
	X(int, SSL_CTX_use_PrivateKey_file, (SSL_CTX *, const char *, int))       \
	X(void, SSL_CTX_free, (SSL_CTX *))                                        \
	X(SSL *, SSL_new, (SSL_CTX *))                                            \
	X(void, SSL_free, (SSL *))                                                \
	X(int, SSL_clear, (SSL *))                                                \
	X(int, SSL_set_fd, (SSL *, int))                                          \
	X(void *, SSL_get_wbio, (SSL *))                                          \
	X(void, SSL_set_connect_state, (SSL *))                                   \
	X(void, SSL_set_accept_state, (SSL *))                                    \
	X(int, SSL_connect, (SSL *))                                              \
	X(int, SSL_accept, (SSL *))                                               \
	X(int, SSL_do_handshake, (SSL *))                                         \
	X(int, SSL_renegotiate, (SSL *))                                          \
	X(int, SSL_key_update, (SSL *, int))                                      \
	X(int, SSL_shutdown, (SSL *))                                             \
	X(int, SSL_get_error, (const SSL *, int))                                 \
	X(void *, SSL_get1_session, (SSL *))                                      \
	X(int, SSL_set_session, (SSL *, void *))                                  \
	X(void, SSL_SESSION_free, (void *))                                       \
	X(int, SSL_get_early_data_status, (const SSL *))                          \
	X(int, SSL_read, (SSL *, void *, int))                                    \
	X(int, SSL_peek, (SSL *, void *, int))                                    \
	X(int, SSL_write, (SSL *, const void *, int))                             \
	X(int, SSL_read_ex, (SSL *, void *, size_t, size_t *))                    \
	X(int, SSL_peek_ex, (SSL *, void *, size_t, size_t *))                    \
	X(int, SSL_write_ex, (SSL *, const void *, size_t, size_t *))             \
	X(int, SSL_read_early_data, (SSL *, void *, size_t, size_t *))            \
	X(int, SSL_write_early_data, (SSL *, const void *, size_t, size_t *))
/* Not in every version. */
#define LATER(X)                                                                  \
	X(int, SSL_write_ex2, (SSL *, const void *, size_t, uint64_t, size_t *))  \
	X(long, SSL_sendfile, (SSL *, int, off_t, size_t, int))                   \
	X(long, BIO_ctrl, (void *, int, long, void *))                            \
	X(void, ERR_print_errors_fp, (FILE *))
#define DECLARE(result, name, arguments) static result(*name) arguments;
FUNCTIONS(DECLARE)
LATER(DECLARE)

enum {
	PEM = 1,
	CTRL_MODE = 33,
	CTRL_MIN_VERSION = 123,
	CTRL_MAX_VERSION = 124,
	MODE_PARTIAL = 1,
	MODE_MOVING = 2,
	VERSION_1_2 = 0x303,
	WANT_READ = 2,
	WANT_WRITE = 3,
	ZERO_RETURN = 6,
	EARLY_ERROR = 0,
	EARLY_SUCCESS = 1,
	EARLY_REJECTED = 1,
	EARLY_ACCEPTED = 2,
	OPTION_KTLS = 1 << 3,
	GET_KTLS_SEND = 73,
};

struct end {
	const struct way *way;
	const char *role;
	SSL_CTX *context;
	SSL *ssl;
	int fd, number;
	FILE *sent, *received;
	/* What was read beyond the message that was asked for. */
	char *ahead;
	size_t ahead_length;
	/* With DUPLEX, two threads use the object, in turn. */
	pthread_mutex_t lock;
};

static const char *folder;
static int listener;

static void check(int ok, const struct end *end, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s %s: ", end ? end->role : "", end ? end->way->name : "");
	perror(what);
	if (ERR_print_errors_fp)
		ERR_print_errors_fp(stderr);
	exit(1);
}

static void fill(char *body, size_t size, unsigned seed)
{
	uint64_t state = (seed + 1) * 0x9E3779B97F4A7C15ull;

	for (size_t i = 0; i < size; i++) {
		state ^= state >> 12;
		state ^= state << 25;
		state ^= state >> 27;
		body[i] = (state * 0x2545F4914F6CDD1Dull) >> 56;
	}
}

static void lock(struct end *end)
{
	if (!(end->way->flags & AT_ONCE))
		pthread_mutex_lock(&end->lock);
}

static void unlock(struct end *end)
{
	if (!(end->way->flags & AT_ONCE))
		pthread_mutex_unlock(&end->lock);
}

/* Whether a call that returned `ret` is to be made again; waits until then. */
static int again(struct end *end, int ret, const char *what)
{
	int error = SSL_get_error(end->ssl, ret);
	struct pollfd fd = { .fd = end->fd, .events = error == WANT_READ ? POLLIN : POLLOUT };

	if (error == ZERO_RETURN)
		return 0;
	check(end->way->flags & (NONBLOCKING | DUPLEX), end, what);
	check(error == WANT_READ || error == WANT_WRITE, end, what);
	/* The other thread may have read what is waited for. */
	unlock(end);
	poll(&fd, 1, end->way->flags & DUPLEX ? 20 : 10000);
	lock(end);
	return 1;
}

/* Reads at least a byte; 0 at the end. */
static size_t read_some(struct end *end, char *data, size_t room)
{
	enum reading reading = end->way->reading;
	char looked_at[40000];
	size_t n = 0, seen = 0;
	int ret;

	lock(end);
	do {
		seen = n = 0;
		if (reading == ONE)
			room = 1;
		if (room > sizeof(looked_at))
			room = sizeof(looked_at);
		if (reading == PEEK) {
			ret = SSL_peek(end->ssl, looked_at, room);
			seen = ret > 0 ? ret : 0;
			ret = SSL_read(end->ssl, data, room);
			n = ret > 0 ? ret : 0;
		} else if (reading == PEEK_EX) {
			SSL_peek_ex(end->ssl, looked_at, room, &seen);
			ret = SSL_read_ex(end->ssl, data, room, &n);
		} else if (reading == READ_EX) {
			ret = SSL_read_ex(end->ssl, data, room, &n);
		} else {
			if (reading == ZERO)
				SSL_read(end->ssl, data, 0);
			ret = SSL_read(end->ssl, data, room);
			n = ret > 0 ? ret : 0;
		}
		check(seen <= n && !memcmp(looked_at, data, seen), end, "peek is not read");
	} while (ret <= 0 && again(end, ret, "read"));
	unlock(end);
	fwrite(data, 1, n, end->received);
	return n;
}

static void write_all(struct end *end, const char *data, size_t size)
{
	size_t done = 0, n = 0;
	int ret;

	lock(end);
	if (end->way->reading == ZERO) {
		check(SSL_write_ex(end->ssl, data, 0, &n) == 1 && !n, end, "write of nothing");
	}
	while (done < size) {
		n = 0;
		switch (end->way->writing) {
		case WRITE_EX:
			ret = SSL_write_ex(end->ssl, data + done, size - done, &n);
			break;
		case WRITE_EX2:
			ret = SSL_write_ex2(end->ssl, data + done, size - done, 0, &n);
			break;
		default:
			ret = SSL_write(end->ssl, data + done, size - done);
			n = ret > 0 ? ret : 0;
		}
		if (ret <= 0)
			check(again(end, ret, "write"), end, "write");
		done += n;
	}
	unlock(end);
	fwrite(data, 1, size, end->sent);
}

/* The body of a response, from a file, by the kernel. */
static void send_file(struct end *end, const char *data, size_t size)
{
	int fd = memfd_create("body", 0);
	size_t done = 0;

	check(write(fd, data, size) == (ssize_t)size, end, "memfd");
	while (done < size) {
		long n = SSL_sendfile(end->ssl, fd, done, size - done, 0);

		check(n > 0, end, "SSL_sendfile");
		done += n;
	}
	close(fd);
	fwrite(data, 1, size, end->sent);
}

/* Repeats a call until it succeeds. */
#define UNTIL_DONE(end, call, what)                                               \
	do {                                                                      \
		int ret;                                                          \
		lock(end);                                 \
		while ((ret = (call)) <= 0)                                       \
			check(again((end), ret, (what)), (end), (what));          \
		unlock(end);                               \
	} while (0)

struct message {
	struct end *end;
	char *data;
	size_t head, body;
	int ended;
};

/*
 * Reads one message. Without Content-Length the body ends with the
 * connection. `ended` if there was no other message.
 */
static void *read_message(void *argument)
{
	struct message *message = argument;
	struct end *end = message->end;
	size_t got = end->ahead_length, size = 400000, whole = SIZE_MAX;
	char *data = calloc(1, size), *at;

	memcpy(data, end->ahead, got);
	end->ahead_length = 0;
	message->head = 0;
	for (;;) {
		if (!message->head && (at = memmem(data, got, "\r\n\r\n", 4))) {
			message->head = at + 4 - data;
			at = memmem(data, message->head, "Content-Length: ", 16);
			if (at)
				whole = message->head + strtoul(at + 16, NULL, 10);
		}
		if (got >= whole)
			break;
		size_t n = read_some(end, data + got, size - got - 1);

		if (!n) {
			message->ended = !got;
			check(!got || (message->head && whole == SIZE_MAX), end, "early end");
			whole = got;
			break;
		}
		got += n;
	}
	end->ahead_length = got - whole;
	memcpy(end->ahead, data + whole, end->ahead_length);
	message->data = data;
	message->body = whole - message->head;
	return NULL;
}

/* Sends one message, the head and the body in one call or in two. */
static void *write_message(void *argument)
{
	struct message *message = argument;
	struct end *end = message->end;
	int response = !strcmp(end->role, "server");

	if (response && end->way->writing == SENDFILE && message->body) {
		write_all(end, message->data, message->head);
		send_file(end, message->data + message->head, message->body);
	} else if (message->body % 2) {
		write_all(end, message->data, message->head);
		write_all(end, message->data + message->head, message->body);
	} else {
		write_all(end, message->data, message->head + message->body);
	}
	return NULL;
}

static void by_thread(struct end *end, void *(*function)(void *), struct message *message)
{
	pthread_t thread;

	if (end->way->flags & HANDOVER) {
		pthread_create(&thread, NULL, function, message);
		pthread_join(thread, NULL);
	} else {
		function(message);
	}
}

static struct message make_request(struct end *end, size_t size)
{
	struct message message = { .end = end, .data = malloc(size + 300), .body = size };

	message.head = sprintf(message.data,
			       "POST /%s/%d/%zu HTTP/1.1\r\nHost: localhost\r\n"
			       "Content-Length: %zu\r\n\r\n",
			       end->way->name, end->number, size, size);
	fill(message.data + message.head, size, size);
	return message;
}

/* Answers with the body of the request, backwards. */
static struct message make_response(struct end *end, const struct message *request)
{
	size_t size = request->body;
	struct message message = { .end = end, .data = malloc(size + 300), .body = size };
	const char *body = request->data + request->head;

	if (end->way->flags & UNTIL_CLOSE)
		message.head = sprintf(message.data, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	else
		message.head = sprintf(message.data,
				       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
	for (size_t i = 0; i < size; i++)
		message.data[message.head + i] = body[size - 1 - i];
	return message;
}

static void open_files(struct end *end)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.%s.%d.sent", folder, end->role, end->way->name,
		 end->number);
	end->sent = fopen(path, "w");
	check(end->sent != NULL, end, path);
	snprintf(path, sizeof(path), "%s/%s.%s.%d.received", folder, end->role, end->way->name,
		 end->number);
	end->received = fopen(path, "w");
	check(end->received != NULL, end, path);
}

/* Puts the socket into the end's object, which is made or used again. */
static void open_end(struct end *end)
{
	int on = 1, small = 4096;

	setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (end->way->flags & (NONBLOCKING | DUPLEX)) {
		setsockopt(end->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		fcntl(end->fd, F_SETFL, O_NONBLOCK);
	}
	if (end->ssl && end->way->flags & CLEAR) {
		check(SSL_clear(end->ssl) == 1, end, "SSL_clear");
	} else {
		end->ssl = SSL_new(end->context);
		check(end->ssl != NULL, end, "SSL_new");
	}
	if (!strcmp(end->role, "server"))
		SSL_set_accept_state(end->ssl);
	else
		SSL_set_connect_state(end->ssl);
	check(SSL_set_fd(end->ssl, end->fd) == 1, end, "SSL_set_fd");
	open_files(end);
}

static void close_end(struct end *end, int last)
{
	fclose(end->sent);
	fclose(end->received);
	if (last || !(end->way->flags & CLEAR))
		SSL_free(end->ssl);
	close(end->fd);
}

static SSL_CTX *make_context(const struct way *way)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	check(context != NULL, NULL, "SSL_CTX_new");
	if (way->flags & TLS12)
		SSL_CTX_ctrl(context, CTRL_MAX_VERSION, VERSION_1_2, NULL);
	if (way->flags & PARTIAL)
		SSL_CTX_ctrl(context, CTRL_MODE, MODE_PARTIAL | MODE_MOVING, NULL);
	if (way->flags & KTLS)
		SSL_CTX_set_options(context, OPTION_KTLS);
	return context;
}

static void rekey(struct end *end)
{
	if (end->way->flags & TLS12)
		check(SSL_renegotiate(end->ssl) == 1, end, "SSL_renegotiate");
	else
		check(SSL_key_update(end->ssl, 1) == 1, end, "SSL_key_update");
	UNTIL_DONE(end, SSL_do_handshake(end->ssl), "SSL_do_handshake");
}

/* Early data, from the second connection on; true if the request was in it. */
static int accept_early(struct end *end, struct message *request)
{
	char *data = calloc(1, 400000);
	size_t got = 0, n;
	int ret, answered = 0;

	lock(end);
	for (;;) {
		n = 0;
		ret = SSL_read_early_data(end->ssl, data + got, 1000, &n);
		fwrite(data + got, 1, n, end->received);
		got += n;
		if (ret == EARLY_ERROR) {
			check(again(end, 0, "SSL_read_early_data"), end, "SSL_read_early_data");
		} else if (ret != EARLY_SUCCESS) {
			break;
		}
		char *at = memmem(data, got, "\r\n\r\n", 4);

		if (!answered && at) {
			request->head = at + 4 - data;
			request->body = strtoul(strstr(data, "Length: ") + 8, NULL, 10);
			answered = got == request->head + request->body;
		}
	}
	unlock(end);
	check(answered == !!got, end, "a part of a request");
	request->data = data;
	return answered;
}

static void *serve(void *argument)
{
	struct end *end = argument;
	int connections = end->way->flags & (EARLY | CLEAR | UNTIL_CLOSE) ? 2 : 1;

	for (end->number = 0; end->number < connections; end->number++) {
		int early = 0;
		struct message request = { .end = end };

		end->fd = accept(listener, NULL, NULL);
		check(end->fd >= 0, end, "accept");
		open_end(end);
		if (end->way->flags & EARLY && !(end->way->flags & REJECT && end->number)) {
			early = accept_early(end, &request);
			check(early == end->number, end, "early data");
		}
		UNTIL_DONE(end, SSL_accept(end->ssl), "SSL_accept");
		if (end->way->flags & KTLS)
			check(BIO_ctrl(SSL_get_wbio(end->ssl), GET_KTLS_SEND, 0, NULL) == 1, end,
			      "kernel TLS is not used");
		for (int count = 0;; count++) {
			if (!early)
				by_thread(end, read_message, &request);
			early = 0;
			if (request.ended)
				break;
			if (end->way->flags & REKEY && count == 2)
				rekey(end);
			struct message response = make_response(end, &request);

			by_thread(end, write_message, &response);
			free(request.data);
			free(response.data);
			if (end->way->flags & UNTIL_CLOSE)
				break;
		}
		/* The client began, but where the body ends with the connection. */
		lock(end);
		if (SSL_shutdown(end->ssl) == 0) {
			char nothing;

			while (again(end, SSL_read(end->ssl, &nothing, 1), "close"))
				;
		}
		unlock(end);
		close_end(end, end->number + 1 == connections);
	}
	return NULL;
}

static void *write_requests(void *argument)
{
	struct end *end = argument;

	for (size_t i = 0; i < sizeof(all_sizes) / sizeof(*all_sizes); i++) {
		struct message request = make_request(end, all_sizes[i]);

		write_message(&request);
		free(request.data);
	}
	return NULL;
}

static void connect_end(struct end *end)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	getsockname(listener, (void *)&address, &length);
	end->fd = socket(AF_INET, SOCK_STREAM, 0);
	check(connect(end->fd, (void *)&address, sizeof(address)) == 0, end, "connect");
	open_end(end);
}

static void talk(struct end *end)
{
	unsigned flags = end->way->flags;
	const size_t *sizes = flags & SMALL ? small_sizes : all_sizes;
	size_t count = flags & SMALL ? sizeof(small_sizes) / sizeof(*small_sizes) :
				       sizeof(all_sizes) / sizeof(*all_sizes);
	int connections = flags & (EARLY | CLEAR | UNTIL_CLOSE) ? 2 : 1;
	void *session = NULL;
	pthread_t writer;

	for (end->number = 0; end->number < connections; end->number++) {
		size_t first = 0;

		connect_end(end);
		struct message early = { 0 };

		if (session) {
			/* The last of the sizes, in two pieces. */
			size_t at = 0, n;
			int number = end->number;

			check(SSL_set_session(end->ssl, session) == 1, end, "SSL_set_session");
			if (flags & REJECT)
				end->number = 9;
			early = make_request(end, sizes[--count]);
			end->number = number;
			while (at < early.head + early.body) {
				size_t piece = at ? early.head + early.body - at : early.head + 7;

				UNTIL_DONE(end,
					   SSL_write_early_data(end->ssl, early.data + at, piece,
								&n),
					   "SSL_write_early_data");
				if (!(flags & REJECT))
					fwrite(early.data + at, 1, n, end->sent);
				at += n;
			}
			free(early.data);
		}
		UNTIL_DONE(end, SSL_connect(end->ssl), "SSL_connect");
		if (session) {
			struct message response = { .end = end };
			int expected = flags & REJECT ? EARLY_REJECTED : EARLY_ACCEPTED;

			for (int i = 0; i < 2; i++) {
				int status = SSL_get_early_data_status(end->ssl);

				check(status == expected, end, "early data's status");
				if (!(flags & REJECT) || i)
					continue;
				early = make_request(end, sizes[count]);
				write_message(&early);
				free(early.data);
			}
			read_message(&response);
			free(response.data);
		}
		if (flags & (DUPLEX | AT_ONCE))
			pthread_create(&writer, NULL, write_requests, end);
		if (flags & UNTIL_CLOSE)
			first = count - 1 - end->number;
		for (size_t i = first; i < count; i++) {
			struct message request = { 0 }, response = { .end = end };

			if (!(flags & (DUPLEX | AT_ONCE))) {
				request = make_request(end, sizes[i]);
				by_thread(end, write_message, &request);
			}
			by_thread(end, read_message, &response);
			check(!response.ended, end, "no response");
			if (flags & REKEY && !(flags & TLS12) && i == 3)
				rekey(end);
			free(request.data);
			free(response.data);
			if (flags & UNTIL_CLOSE)
				break;
		}
		if (flags & (DUPLEX | AT_ONCE))
			pthread_join(writer, NULL);
		if (flags & EARLY && !session)
			session = SSL_get1_session(end->ssl);
		lock(end);
		for (int ret; (ret = SSL_shutdown(end->ssl)) != 1;)
			if (ret < 0)
				check(again(end, ret, "SSL_shutdown"), end, "SSL_shutdown");
		unlock(end);
		close_end(end, end->number + 1 == connections);
	}
	if (session)
		SSL_SESSION_free(session);
}

/* Whether the kernel encrypts for those who ask it to. */
static int has_ktls(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), ret;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	getsockname(listener, (void *)&address, &length);
	check(connect(fd, (void *)&address, sizeof(address)) == 0, NULL, "connect");
	ret = setsockopt(fd, IPPROTO_TCP, 31 /* TCP_ULP */, "tls", 3);
	close(fd);
	fd = accept(listener, NULL, NULL);
	close(fd);
	return ret == 0;
}

static const char *lacks(const struct way *way)
{
	if (way->writing == WRITE_EX2 && !SSL_write_ex2)
		return "no SSL_write_ex2";
	if (way->writing == SENDFILE && !SSL_sendfile)
		return "no SSL_sendfile";
	if (way->flags & KTLS && (!SSL_sendfile || !has_ktls()))
		return "no kernel TLS";
	return NULL;
}

static void go(const struct way *way, const char *certificate, const char *key)
{
	struct end client = { .way = way, .role = "client", .lock = PTHREAD_MUTEX_INITIALIZER };
	struct end server = { .way = way, .role = "server", .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread;

	client.ahead = malloc(400000);
	server.ahead = malloc(400000);
	client.context = make_context(way);
	server.context = make_context(way);
	check(SSL_CTX_use_certificate_file(server.context, certificate, PEM) == 1, &server,
	      certificate);
	check(SSL_CTX_use_PrivateKey_file(server.context, key, PEM) == 1, &server, key);
	if (way->flags & EARLY)
		SSL_CTX_set_max_early_data(server.context, 16384);
	pthread_create(&thread, NULL, serve, &server);
	talk(&client);
	pthread_join(thread, NULL);
	SSL_CTX_free(client.context);
	SSL_CTX_free(server.context);
	free(client.ahead);
	free(server.ahead);
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	void *library;

	check(count >= 5, NULL, "tls_talk LIBSSL CERTIFICATE KEY FOLDER [WAY…]");
	folder = arguments[4];
	signal(SIGPIPE, SIG_IGN);
	library = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
#define LOAD(result, name, arguments)                                             \
	*(void **)&name = dlsym(library, #name);
#define MUST(result, name, arguments)                                             \
	LOAD(result, name, arguments)                                             \
	check(name != NULL, NULL, #name);
	FUNCTIONS(MUST)
	LATER(LOAD)

	listener = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(bind(listener, (void *)&address, sizeof(address)) == 0, NULL, "bind");
	check(listen(listener, 8) == 0, NULL, "listen");
	getsockname(listener, (void *)&address, &length);
	printf("port %d\n", ntohs(address.sin_port));
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		const struct way *way = &ways[i];
		int wanted = count == 5;
		const char *why;

		for (int n = 5; n < count; n++)
			wanted |= !strcmp(arguments[n], way->name);
		if (!wanted)
			continue;
		why = lacks(way);
		if (!why)
			go(way, arguments[2], arguments[3]);
		printf("%s: %s\n", way->name, why ? why : "ok");
		fflush(stdout);
	}
	return 0;
}
