// wolfSSL. Styles: plain; peek (before every read); send-recv (wolfSSL_send,
// wolfSSL_recv); writev; nonblocking.
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static WOLFSSL_CTX *context;

void tls_init(bool server, const char *certificate, const char *key)
{
	wolfSSL_Init();
	context = wolfSSL_CTX_new(server ? wolfTLS_server_method() : wolfTLS_client_method());
	if (!context)
		fail("wolfSSL_CTX_new", 0);
	if (server) {
		if (wolfSSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) !=
			    SSL_SUCCESS ||
		    wolfSSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != SSL_SUCCESS)
			fail("certificate", 0);
	} else {
		wolfSSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	}
}

static bool again(WOLFSSL *ssl, int result)
{
	int error = wolfSSL_get_error(ssl, result);

	if (result > 0 || (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE))
		return false;
	await(wolfSSL_get_fd(ssl), error == SSL_ERROR_WANT_WRITE);
	return true;
}

void *tls_open(bool server, int fd)
{
	WOLFSSL *ssl = wolfSSL_new(context);
	int result;

	wolfSSL_set_fd(ssl, fd);
	do
		result = server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl);
	while (again(ssl, result));
	if (result != SSL_SUCCESS)
		fail("handshake", wolfSSL_get_error(ssl, result));
	return ssl;
}

static int send_once(WOLFSSL *ssl, const char *data, size_t length)
{
	if (is_style("send-recv"))
		return wolfSSL_send(ssl, data, length, 0);
	if (is_style("writev") && length > 2) {
		struct iovec parts[3] = {
			{ (void *)data, 1 },
			{ (void *)(data + 1), length / 2 },
			{ (void *)(data + 1 + length / 2), length - 1 - length / 2 },
		};

		return wolfSSL_writev(ssl, parts, 3);
	}
	return wolfSSL_write(ssl, data, length);
}

void tls_send(void *tls, const void *data, size_t length)
{
	size_t sent = 0;

	while (sent < length) {
		int result;

		do
			result = send_once(tls, (const char *)data + sent, length - sent);
		while (again(tls, result));
		if (result <= 0)
			fail("wolfSSL_write", wolfSSL_get_error(tls, result));
		sent += result;
	}
}

void tls_send_file(void *tls, int file, size_t length)
{
	char *content = malloc(length + 1);

	if (read(file, content, length) != (ssize_t)length)
		fail("read", 0);
	if (length)
		tls_send(tls, content, length);
	free(content);
}

size_t tls_receive(void *tls, void *buffer, size_t size)
{
	int result, error;

	do {
		if (is_style("peek") && wolfSSL_peek(tls, buffer, size) < 0)
			fail("wolfSSL_peek", 0);
		if (is_style("send-recv"))
			result = wolfSSL_recv(tls, buffer, size, 0);
		else
			result = wolfSSL_read(tls, buffer, size);
	} while (again(tls, result));
	error = wolfSSL_get_error(tls, result);
	if (result < 0 && error != SSL_ERROR_ZERO_RETURN && error != SOCKET_PEER_CLOSED_E)
		fail("wolfSSL_read", error);
	return result > 0 ? result : 0;
}

void tls_close(void *tls)
{
	wolfSSL_shutdown(tls);
	wolfSSL_free(tls);
}
