/*
 * Many TLS connections on one thread, and who they were with: as
 * peers_asyncio.py, by OpenSSL itself.
 *
 *     peers serve LOG PORTS CERTIFICATE KEY socket|pairs|own
 *     peers ask LOG CAFILE CONNECTIONS REQUESTS early|late socket|pairs|own PORT...
 *
 * `socket`: SSL_set_fd, all connections in one poll. `pairs`: BIO pairs; the
 * main thread encrypts for all connections in turn, then another thread sends
 * what all of them have written, in random order. `own`: as that, but the
 * library writes into a BIO of this program. Requests are of one length, and so
 * are answers. After `done`, a line asks for as many again.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX 1024
#define BODY "0123456\n"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" BODY

struct connection {
	int fd;
	SSL *ssl;
	/* The outer half of the pair. */
	BIO *net;
	char local[32], peer[32];
	/* What was read of a message. */
	char in[1024];
	size_t have;
	bool open, waiting;
	int asked;
	/* Ciphertext on its way to the socket. */
	char out[65536];
	size_t out_have;
	/* What the BIO of this program was given. */
	char written[65536];
	size_t written_have;
};

static struct connection *connections[MAX];
static int count;
static struct pollfd fds[2 * MAX];
static int listeners[MAX];
static int listening;
static bool serving, pairs, own;
static SSL_CTX *context;
static FILE *log_file;
static int wanted, finished;
static bool warming;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool news;
/* Wakes the thread that sends. */
static int bell[2];

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void name(char *to, const struct sockaddr_in *address)
{
	sprintf(to, "127.0.0.1:%d", ntohs(address->sin_port));
}

static void note(const struct connection *c, const char *target)
{
	if (strncmp(target, "/warm", 5))
		fprintf(log_file, "%s %s %s %s\n", serving ? "server" : "client", c->local,
			c->peer, target);
	fflush(log_file);
}

static int own_write(BIO *bio, const char *bytes, int length)
{
	struct connection *c = BIO_get_data(bio);

	if (c->written_have + length > sizeof(c->written))
		fail("full");
	memcpy(c->written + c->written_have, bytes, length);
	c->written_have += length;
	return length;
}

static long own_ctrl(BIO *bio, int what, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return what == BIO_CTRL_FLUSH;
}

static BIO *own_bio(struct connection *c)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "own");
		BIO_meth_set_write(method, own_write);
		BIO_meth_set_ctrl(method, own_ctrl);
	}
	bio = BIO_new(method);
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	return bio;
}

static void add(int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	if (!c || count == MAX)
		fail("too many");
	c->fd = fd;
	c->open = true;
	getsockname(fd, (struct sockaddr *)&address, &size);
	name(c->local, &address);
	size = sizeof(address);
	getpeername(fd, (struct sockaddr *)&address, &size);
	name(c->peer, &address);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	c->ssl = SSL_new(context);
	if (pairs) {
		BIO *inner;

		if (!BIO_new_bio_pair(&inner, 65536, &c->net, 65536))
			fail("pair");
		SSL_set_bio(c->ssl, inner, own ? own_bio(c) : inner);
	} else {
		SSL_set_fd(c->ssl, fd);
	}
	if (serving)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	connections[count++] = c;
}

static bool blocked(const struct connection *c, int ret)
{
	int error = SSL_get_error(c->ssl, ret);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void put(struct connection *c, const char *text)
{
	if (SSL_write(c->ssl, text, strlen(text)) <= 0)
		fail("SSL_write");
}

/* Sends the next request, if there is one. */
static void ask(struct connection *c, int number)
{
	char target[32], request[128];

	if (c->waiting || c->asked >= wanted)
		return;
	if (warming)
		sprintf(target, "/warm%05d", number);
	else
		sprintf(target, "/%05d-%05d", number, c->asked);
	sprintf(request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
	put(c, request);
	note(c, target);
	c->asked++;
	c->waiting = true;
}

/* Goes on with a connection as far as it can. */
static void step(struct connection *c, int number)
{
	int ret;

	if (!c->open)
		return;
	if (!SSL_is_init_finished(c->ssl)) {
		ret = SSL_do_handshake(c->ssl);
		if (ret <= 0 && blocked(c, ret))
			return;
		if (ret <= 0)
			fail("handshake");
	}
	if (!serving)
		ask(c, number);
	for (;;) {
		ret = SSL_read(c->ssl, c->in + c->have, sizeof(c->in) - 1 - c->have);
		if (ret <= 0) {
			if (!blocked(c, ret))
				c->open = false;
			return;
		}
		c->have += ret;
		c->in[c->have] = 0;
		if (serving && strstr(c->in, "\r\n\r\n")) {
			char target[64];

			sscanf(c->in, "GET %63s", target);
			note(c, target);
			c->have = 0;
			put(c, ANSWER);
		} else if (!serving && strstr(c->in, BODY)) {
			c->have = 0;
			c->waiting = false;
			finished += c->asked == wanted;
			ask(c, number);
		}
	}
}

static void step_all(void)
{
	for (int i = 0; i < count; i++)
		step(connections[i], i);
}

/* Takes what all have written, then sends it, in random order. */
static void flush(void)
{
	int order[MAX], n;

	pthread_mutex_lock(&lock);
	n = count;
	for (int i = 0; i < n; i++) {
		struct connection *c = connections[i];
		int got = BIO_read(c->net, c->out + c->out_have, sizeof(c->out) - c->out_have);

		if (own && c->out_have + c->written_have <= sizeof(c->out)) {
			memcpy(c->out + c->out_have, c->written, c->written_have);
			c->out_have += c->written_have;
			c->written_have = 0;
		}
		if (got > 0)
			c->out_have += got;
		order[i] = i;
	}
	pthread_mutex_unlock(&lock);
	for (int i = n - 1; i > 0; i--) {
		int j = rand() % (i + 1), other = order[j];

		order[j] = order[i];
		order[i] = other;
	}
	for (int i = 0; i < n; i++) {
		struct connection *c = connections[order[i]];
		ssize_t sent;

		if (!c->out_have || !c->open)
			continue;
		sent = send(c->fd, c->out, c->out_have, MSG_NOSIGNAL);
		if (sent > 0) {
			memmove(c->out, c->out + sent, c->out_have - sent);
			c->out_have -= sent;
		}
	}
}

/* What has arrived, into the pairs. */
static void fill(int first, int n)
{
	char bytes[16384];

	for (int i = 0; i < n; i++) {
		struct connection *c = connections[i];
		ssize_t got;

		if (!fds[first + i].revents)
			continue;
		got = recv(c->fd, bytes, sizeof(bytes), 0);
		pthread_mutex_lock(&lock);
		if (got > 0 && BIO_write(c->net, bytes, got) != got)
			fail("the pair is full");
		if (!got)
			c->open = false;
		news = true;
		pthread_cond_signal(&moved);
		pthread_mutex_unlock(&lock);
	}
}

static int watch(void)
{
	int n = 0;

	for (int i = 0; i < listening; i++)
		fds[n++] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
	for (int i = 0; i < count; i++)
		fds[n++] = (struct pollfd){ .fd = connections[i]->open ? connections[i]->fd : -1,
					    .events = POLLIN };
	fds[n] = (struct pollfd){ .fd = bell[0], .events = POLLIN };
	return n;
}

static void accept_all(void)
{
	for (int i = 0; i < listening; i++)
		if (fds[i].revents)
			add(accept(listeners[i], NULL, NULL));
}

/* The thread that sends and receives for the pairs. */
static void *mover(void *unused)
{
	char byte[64];

	(void)unused;
	for (;;) {
		int known, n;

		flush();
		pthread_mutex_lock(&lock);
		known = count;
		n = watch();
		pthread_mutex_unlock(&lock);
		poll(fds, n + 1, -1);
		if (fds[n].revents && read(bell[0], byte, sizeof(byte)) < 0)
			fail("bell");
		pthread_mutex_lock(&lock);
		accept_all();
		pthread_mutex_unlock(&lock);
		fill(listening, known);
	}
	return NULL;
}

/* Goes on with all connections until enough are finished. */
static void run(int until)
{
	if (pairs) {
		pthread_mutex_lock(&lock);
		for (;;) {
			step_all();
			if (write(bell[1], "", 1) != 1)
				fail("bell");
			if (finished >= until)
				break;
			while (!news)
				pthread_cond_wait(&moved, &lock);
			news = false;
		}
		pthread_mutex_unlock(&lock);
		return;
	}
	for (;;) {
		int known = count;

		step_all();
		if (finished >= until)
			return;
		poll(fds, watch(), -1);
		accept_all();
		for (int i = 0; i < known; i++)
			if (fds[listening + i].revents)
				step(connections[i], i);
	}
}

/* Says something, and waits for a line; whether it is to go on. */
static bool say(const char *what)
{
	char line[16] = "";

	puts(what);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && !strcmp(line, "go\n");
}

static void serve(int ports)
{
	for (int i = 0; i < ports; i++) {
		struct sockaddr_in any = { .sin_family = AF_INET,
					   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t size = sizeof(any);

		listeners[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(listeners[i], (struct sockaddr *)&any, size) || listen(listeners[i], 512))
			fail("listen");
		getsockname(listeners[i], (struct sockaddr *)&any, &size);
		printf("%d%c", ntohs(any.sin_port), i + 1 < ports ? ' ' : '\n');
	}
	listening = ports;
	fflush(stdout);
}

static void connect_all(int ports, char **port, int each)
{
	for (int i = 0; i < ports * each; i++) {
		struct sockaddr_in to = { .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					  .sin_port = htons(atoi(port[i % ports])) };
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
			fail("connect");
		add(fd);
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	bool late;

	if (argc < 7 || pipe(bell))
		return 2;
	serving = !strcmp(argv[1], "serve");
	log_file = fopen(argv[2], "w");
	context = SSL_CTX_new(TLS_method());
	if (serving) {
		own = !strcmp(argv[6], "own");
		pairs = own || !strcmp(argv[6], "pairs");
		if (SSL_CTX_use_certificate_chain_file(context, argv[4]) != 1 ||
		    SSL_CTX_use_PrivateKey_file(context, argv[5], SSL_FILETYPE_PEM) != 1)
			fail("certificate");
		serve(atoi(argv[3]));
		if (pairs)
			pthread_create(&thread, NULL, mover, NULL);
		run(1);
		return 1;
	}
	late = !strcmp(argv[6], "late");
	own = !strcmp(argv[7], "own");
	pairs = own || !strcmp(argv[7], "pairs");
	if (SSL_CTX_load_verify_locations(context, argv[3], NULL) != 1)
		fail("authority");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (!late) {
		say("ready");
	}
	connect_all(argc - 8, argv + 8, atoi(argv[4]));
	if (pairs)
		pthread_create(&thread, NULL, mover, NULL);
	if (late) {
		warming = true;
		wanted = 1;
		run(count);
		warming = false;
		finished = 0;
		for (int i = 0; i < count; i++)
			connections[i]->asked = 0;
		wanted = 0;
		say("ready");
	}
	/* The connections stay open until all has been seen. */
	do {
		finished = 0;
		wanted += atoi(argv[5]);
		run(count);
	} while (say("done"));
	return 0;
}
