// What peer.c needs of a TLS library. Each library is one file that gives
// these; a failure that cannot be gone on from ends the program.
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// In which way bytes are handed over: which of the library's functions.
extern const char *style;
// Calls that had to be repeated because the socket was full or empty.
extern unsigned long agains;

static inline bool is_style(const char *name)
{
	extern int strcmp(const char *, const char *);

	return !strcmp(style, name);
}

// Says what failed and ends.
void fail(const char *what, long code) __attribute__((noreturn));
// Waits until the socket can be read (or written).
void await(int fd, bool write);

void tls_init(bool server, const char *certificate, const char *key);
// The connection on a connected socket, after the handshake.
void *tls_open(bool server, int fd);
// Sends all of it.
void tls_send(void *tls, const void *data, size_t length);
// Sends the whole file; the library's own function for it if it has one.
void tls_send_file(void *tls, int file, size_t length);
// What there is, at most `size`; 0 at the end.
size_t tls_receive(void *tls, void *buffer, size_t size);
// Says that nothing follows, and frees the object. The socket is closed by
// the caller.
void tls_close(void *tls);

#endif
