// A client that treats its TLS library roughly while it is being watched: it
// forks, executes, crashes, jumps out of calls, closes the library, confines
// itself. It prints what it received; its exit code must be the same watched
// and unwatched. Usage: rough MODE PORT LIBSSL [PORT WITHOUT TLS]
// The library is loaded by dlopen, so that it can be closed and so that no
// header of it is needed.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct api {
	void *handle;
	void *(*TLS_client_method)(void);
	void *(*SSL_CTX_new)(void *);
	void (*SSL_CTX_free)(void *);
	void *(*SSL_new)(void *);
	void (*SSL_free)(void *);
	int (*SSL_set_fd)(void *, int);
	int (*SSL_connect)(void *);
	int (*SSL_read)(void *, void *, int);
	int (*SSL_write)(void *, const void *, int);
	int (*SSL_shutdown)(void *);
	void (*SSL_set_msg_callback)(void *, void (*)(int, int, int, const void *, size_t, void *,
						      void *));
} api;

static jmp_buf out;
static const char *mode, *port, *clear_port;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s failed (%s)\n", mode, what, strerror(errno));
	exit(99);
}

static void load(const char *path)
{
	api.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	must(api.handle != NULL, "dlopen");
#define SYMBOL(name) must((*(void **)&api.name = dlsym(api.handle, #name)) != NULL, #name)
	SYMBOL(TLS_client_method);
	SYMBOL(SSL_CTX_new);
	SYMBOL(SSL_CTX_free);
	SYMBOL(SSL_new);
	SYMBOL(SSL_free);
	SYMBOL(SSL_set_fd);
	SYMBOL(SSL_connect);
	SYMBOL(SSL_read);
	SYMBOL(SSL_write);
	SYMBOL(SSL_shutdown);
	SYMBOL(SSL_set_msg_callback);
}

struct connection {
	void *context, *ssl;
	int fd;
};

// Without TLS as yet.
static struct connection open_socket(const char *to)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct connection c = { 0 };

	address.sin_port = htons(atoi(to));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c.fd = socket(AF_INET, SOCK_STREAM, 0);
	must(c.fd >= 0 && !connect(c.fd, (struct sockaddr *)&address, sizeof(address)), "connect");
	return c;
}

static struct connection open_connection(void)
{
	struct connection c = open_socket(port);

	c.context = api.SSL_CTX_new(api.TLS_client_method());
	c.ssl = api.SSL_new(c.context);
	api.SSL_set_fd(c.ssl, c.fd);
	must(api.SSL_connect(c.ssl) == 1, "SSL_connect");
	return c;
}

static void close_connection(struct connection *c)
{
	api.SSL_shutdown(c->ssl);
	api.SSL_free(c->ssl);
	api.SSL_CTX_free(c->context);
	close(c->fd);
}

// One exchange on a connection that is kept; prints the size of the answer
// with the system calls that a confined program has.
static void get(struct connection *c, const char *target)
{
	char buffer[16384], line[128], *body;
	int length, got, have = 0, wanted = -1;

	length = snprintf(buffer, sizeof(buffer), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
			  target);
	if (c->ssl)
		must(api.SSL_write(c->ssl, buffer, length) == length, "SSL_write");
	else
		must(send(c->fd, buffer, length, 0) == length, "send");
	while (wanted < 0 || have < wanted) {
		if (c->ssl)
			got = api.SSL_read(c->ssl, buffer + have, sizeof(buffer) - 1 - have);
		else
			got = recv(c->fd, buffer + have, sizeof(buffer) - 1 - have, 0);
		must(got > 0, "reading");
		have += got;
		buffer[have] = 0;
		body = strstr(buffer, "\r\n\r\n");
		if (wanted < 0 && body)
			wanted = body + 4 - buffer +
				 atoi(strstr(buffer, "Content-Length: ") + 16);
	}
	length = snprintf(line, sizeof(line), "%s %d\n", target, have);
	must(write(1, line, length) == length, "write");
}

// Everything but what reading and writing need ends the process at once:
// also the system calls that a kernel adds behind a return probe.
static void confine(void)
{
	static const int allowed[] = { SYS_read,	 SYS_write,	SYS_sendto,   SYS_recvfrom,
				       SYS_exit_group,	 SYS_brk,	SYS_mmap,     SYS_munmap,
				       SYS_rt_sigreturn, SYS_getrandom, SYS_shutdown, SYS_close,
				       SYS_futex,	 SYS_getpid };
	enum { COUNT = sizeof(allowed) / sizeof(*allowed) };
	struct sock_filter filter[COUNT + 3];
	struct sock_fprog program = { .len = COUNT + 3, .filter = filter };

	filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (int i = 0; i < COUNT; i++)
		filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
							     COUNT - i, 0);
	filter[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	filter[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
}

static void jump(int write_p, int version, int type, const void *buffer, size_t length, void *ssl,
		 void *argument)
{
	(void)write_p, (void)version, (void)buffer, (void)length, (void)ssl, (void)argument;
	if (type == 23 || type == 256)
		longjmp(out, 1);
}

static void crash(int write_p, int version, int type, const void *buffer, size_t length, void *ssl,
		  void *argument)
{
	(void)write_p, (void)version, (void)type, (void)buffer, (void)length, (void)ssl;
	(void)argument;
	if (!strcmp(mode, "abort"))
		abort();
	*(volatile int *)8 = 1;
}

static void leave(int write_p, int version, int type, const void *buffer, size_t length, void *ssl,
		  void *argument)
{
	(void)write_p, (void)version, (void)type, (void)buffer, (void)length, (void)ssl;
	(void)argument;
	pthread_exit(NULL);
}

static void *thread(void *argument)
{
	struct connection *c = argument;

	api.SSL_set_msg_callback(c->ssl, leave);
	get(c, "/35.bin?thread");
	return NULL;
}

// One exchange with the number in its target.
static void get_numbered(struct connection *c, const char *what, int number)
{
	char target[64];

	snprintf(target, sizeof(target), "/35.bin?%s-%d", what, number);
	get(c, target);
}

// The same, far down the stack.
static __attribute__((noinline)) void get_deep(struct connection *c, int number)
{
	volatile char room[64 << 10];

	room[0] = 1;
	get_numbered(c, "deep", number + room[0] - 1);
}

// Farther down than that.
static __attribute__((noinline)) void get_deeper(struct connection *c, int number)
{
	volatile char room[64 << 10];

	room[0] = 1;
	get_deep(c, number + room[0] - 1);
}

static struct connection in_clear;
static int within;

// Something in clear while the library waits for its callback to return.
static void get_within(int write_p, int version, int type, const void *buffer, size_t length,
		       void *ssl, void *argument)
{
	(void)write_p, (void)version, (void)buffer, (void)length, (void)argument;
	api.SSL_set_msg_callback(ssl, NULL);
	if (type == 256)
		get_numbered(&in_clear, "within", within);
}

// Calls that never return, and then sockets without TLS on the same thread.
static void leave_calls(void)
{
	struct connection c;

	in_clear = open_socket(clear_port);
	for (volatile int i = 0; i < 5; i++) {
		c = open_connection();
		get_numbered(&c, "tls", i);
		if (!setjmp(out)) {
			api.SSL_set_msg_callback(c.ssl, jump);
			get_deep(&c, -1);
		}
		api.SSL_set_msg_callback(c.ssl, NULL);
		get_numbered(&in_clear, "left", i);
		get_deeper(&in_clear, i);
		close_connection(&c);
		// An object that never gets to know its socket.
		c = open_socket(port);
		c.context = api.SSL_CTX_new(api.TLS_client_method());
		c.ssl = api.SSL_new(c.context);
		api.SSL_set_fd(c.ssl, c.fd);
		if (!setjmp(out)) {
			api.SSL_set_msg_callback(c.ssl, jump);
			api.SSL_connect(c.ssl);
		}
		api.SSL_set_msg_callback(c.ssl, NULL);
		get_numbered(&in_clear, "early", i);
		close_connection(&c);
		// From within a call.
		c = open_connection();
		within = i;
		api.SSL_set_msg_callback(c.ssl, get_within);
		get_numbered(&c, "around", i);
		close_connection(&c);
	}
	close(in_clear.fd);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

int main(int argc, char **argv)
{
	struct connection c;
	pthread_t worker;
	int status = 0;

	if (argc != 4 && argc != 5)
		return 2;
	clear_port = argv[4];
	mode = argv[1];
	port = argv[2];
	load(argv[3]);
	c = open_connection();
	get(&c, "/35.bin?before");

	if (!strcmp(mode, "confined")) {
		confine();
		for (int i = 0; i < 20; i++)
			get(&c, "/35.bin?confined");
	} else if (!strcmp(mode, "fork")) {
		// The child goes on with the parent's object, as servers do.
		for (int i = 0; i < 10; i++) {
			fflush(stdout);
			if (!fork()) {
				get(&c, "/35.bin?child");
				_exit(7);
			}
			must(wait(&status) > 0 && WEXITSTATUS(status) == 7, "the child");
			close_connection(&c);
			c = open_connection();
			get(&c, "/35.bin?parent");
		}
	} else if (!strcmp(mode, "exec")) {
		// From within a program that holds TLS objects to another one.
		if (!getenv("AGAIN")) {
			setenv("AGAIN", "1", 1);
			execv(argv[0], argv);
			return 98;
		}
	} else if (!strcmp(mode, "jump")) {
		// Returns that never happen: the library is left by longjmp.
		for (volatile int i = 0; i < 50; i++) {
			close_connection(&c);
			c = open_connection();
			if (!setjmp(out)) {
				api.SSL_set_msg_callback(c.ssl, jump);
				get(&c, "/35.bin?jump");
			}
			api.SSL_set_msg_callback(c.ssl, NULL);
		}
		close_connection(&c);
		c = open_connection();
		get(&c, "/35.bin?after");
	} else if (!strcmp(mode, "left")) {
		leave_calls();
	} else if (!strcmp(mode, "abort") || !strcmp(mode, "segv")) {
		api.SSL_set_msg_callback(c.ssl, crash);
		get(&c, "/35.bin?crash");
	} else if (!strcmp(mode, "thread")) {
		// Threads that end inside a call.
		for (int i = 0; i < 20; i++) {
			must(!pthread_create(&worker, NULL, thread, &c), "pthread_create");
			pthread_join(worker, NULL);
			api.SSL_set_msg_callback(c.ssl, NULL);
			close_connection(&c);
			c = open_connection();
			get(&c, "/35.bin?main");
		}
	} else if (!strcmp(mode, "dlclose")) {
		for (int i = 0; i < 20; i++) {
			close_connection(&c);
			must(!dlclose(api.handle), "dlclose");
			load(argv[3]);
			c = open_connection();
			get(&c, "/35.bin?again");
		}
	} else if (!strcmp(mode, "signals")) {
		// Signals that arrive while a probe is being handled.
		struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };

		sigaction(SIGALRM, &action, NULL);
		ualarm(1000, 500);
		for (int i = 0; i < 200; i++)
			get(&c, "/35.bin?signal");
		ualarm(0, 0);
		must(signals > 0, "the alarm");
	} else {
		return 2;
	}
	get(&c, "/35.bin?end");
	if (strcmp(mode, "confined"))
		close_connection(&c);
	return 17;
}
