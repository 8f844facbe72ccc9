// A TLS client that does what it is told, a line at a time:
//   load LIBRARY        dlopen (not with -DLINKED) -> "loaded"
//   get TARGET FILE     one connection, one GET; the body into FILE -> "done"
//   now LIBRARY TARGET FILE   both without a pause -> "done"
// Usage: tls_client PORT. It prints "ready" first.
// -DLINKED: the library is linked in, statically or not.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
typedef struct ssl_method_st SSL_METHOD;

#define FUNCTIONS(X)                                               \
	X(const SSL_METHOD *, TLS_client_method, (void))           \
	X(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method))      \
	X(int, SSL_CTX_load_verify_locations,                      \
	  (SSL_CTX *context, const char *file, const char *path))  \
	X(SSL *, SSL_new, (SSL_CTX *context))                      \
	X(int, SSL_set_fd, (SSL *ssl, int fd))                     \
	X(int, SSL_connect, (SSL *ssl))                            \
	X(int, SSL_write, (SSL *ssl, const void *data, int count)) \
	X(int, SSL_read, (SSL *ssl, void *data, int count))        \
	X(int, SSL_shutdown, (SSL *ssl))                           \
	X(void, SSL_free, (SSL *ssl))

#ifdef LINKED
#define X(type, name, arguments) type name arguments;
FUNCTIONS(X)
#undef X
#else
#define X(type, name, arguments) static type(*name) arguments;
FUNCTIONS(X)
#undef X
#endif

// In some builds: see padding.c.
extern unsigned httpsniff_padding(void) __attribute__((weak));

static SSL_CTX *context;

static void fail(const char *what)
{
	fprintf(stderr, "tls_client: %s\n", what);
	exit(1);
}

static void load(const char *path)
{
#ifdef LINKED
	fail(path);
#else
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		fail(dlerror());
#define X(type, name, arguments)                           \
	*(void **)&name = dlsym(library, #name);           \
	if (!name)                                         \
		fail(#name);
	FUNCTIONS(X)
#undef X
#endif
}

static void get(int port, const char *target, const char *name)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	static char response[4 << 20];
	int fd = socket(AF_INET, SOCK_STREAM, 0), length, got = 0, now;
	char request[4096], *body;
	FILE *file;
	SSL *ssl;

	address.sin_port = htons(port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		fail("connect");
	if (!context) {
		context = SSL_CTX_new(TLS_client_method());
		if (!context)
			fail("SSL_CTX_new");
		// As every client does, if there are any.
		SSL_CTX_load_verify_locations(context, "/etc/ssl/certs/ca-certificates.crt", NULL);
	}
	ssl = SSL_new(context);
	if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
		fail("SSL_connect");
	length = snprintf(request, sizeof(request),
			  "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
	if (SSL_write(ssl, request, length) != length)
		fail("SSL_write");
	while ((now = SSL_read(ssl, response + got, sizeof(response) - 1 - got)) > 0)
		got += now;
	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
	response[got] = 0;
	body = strstr(response, "\r\n\r\n");
	if (strncmp(response, "HTTP/1.1 200", 12) || !body)
		fail("not 200");
	body += 4;
	file = fopen(name, "w");
	if (!file || fwrite(body, 1, response + got - body, file) != response + got - body ||
	    fclose(file))
		fail(name);
}

int main(int argc, char **argv)
{
	char line[4096], one[1024], two[1024], three[1024];
	int port;

	if (argc != 2)
		return 2;
	port = atoi(argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (httpsniff_padding && httpsniff_padding() != 400000u * 0x01010101u)
		fail("the padding is damaged");
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "load %1023s", one) == 1) {
			load(one);
			puts("loaded");
		} else if (sscanf(line, "get %1023s %1023s", one, two) == 2) {
			get(port, one, two);
			puts("done");
		} else if (sscanf(line, "now %1023s %1023s %1023s", one, two, three) == 3) {
			load(one);
			get(port, two, three);
			puts("done");
		} else {
			fail("no such order");
		}
	}
	return 0;
}
