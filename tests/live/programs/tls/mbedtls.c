// Mbed TLS. Styles: plain; nonblocking; reset (one context for all
// connections, by mbedtls_ssl_session_reset).
#include "peer.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct connection {
	mbedtls_ssl_context ssl;
	mbedtls_net_context net;
};

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_source;
static mbedtls_ssl_config config;
static mbedtls_x509_crt own;
static mbedtls_pk_context private_key;

void tls_init(bool server, const char *certificate, const char *key)
{
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random_source);
	mbedtls_ssl_config_init(&config);
	mbedtls_x509_crt_init(&own);
	mbedtls_pk_init(&private_key);
	if (mbedtls_ctr_drbg_seed(&random_source, mbedtls_entropy_func, &entropy, NULL, 0) ||
	    mbedtls_ssl_config_defaults(&config,
					server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
					MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT))
		fail("config", 0);
	mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random_source);
	mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
	if (server) {
		if (mbedtls_x509_crt_parse_file(&own, certificate) ||
#if MBEDTLS_VERSION_MAJOR > 2
		    mbedtls_pk_parse_keyfile(&private_key, key, NULL, mbedtls_ctr_drbg_random,
					     &random_source) ||
#else
		    mbedtls_pk_parse_keyfile(&private_key, key, NULL) ||
#endif
		    mbedtls_ssl_conf_own_cert(&config, &own, &private_key))
			fail("certificate", 0);
	}
}

static bool again(struct connection *connection, int result)
{
	if (result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_WANT_WRITE)
		return false;
	await(connection->net.fd, result == MBEDTLS_ERR_SSL_WANT_WRITE);
	return true;
}

void *tls_open(bool server, int fd)
{
	static struct connection only;
	static bool is_set_up;
	struct connection *connection = is_style("reset") ? &only : malloc(sizeof(*connection));
	int result = 0;

	(void)server;
	if (is_style("reset") && is_set_up) {
		result = mbedtls_ssl_session_reset(&connection->ssl);
	} else {
		mbedtls_ssl_init(&connection->ssl);
		result = mbedtls_ssl_setup(&connection->ssl, &config);
		is_set_up = true;
	}
	if (result)
		fail("setup", result);
	mbedtls_net_init(&connection->net);
	connection->net.fd = fd;
	mbedtls_ssl_set_hostname(&connection->ssl, "localhost");
	mbedtls_ssl_set_bio(&connection->ssl, &connection->net, mbedtls_net_send, mbedtls_net_recv,
			    NULL);
	do
		result = mbedtls_ssl_handshake(&connection->ssl);
	while (again(connection, result));
	if (result)
		fail("handshake", result);
	return connection;
}

void tls_send(void *tls, const void *data, size_t length)
{
	struct connection *connection = tls;
	size_t sent = 0;

	while (sent < length) {
		int result;

		do
			result = mbedtls_ssl_write(&connection->ssl,
						   (const unsigned char *)data + sent,
						   length - sent);
		while (again(connection, result));
		if (result <= 0)
			fail("mbedtls_ssl_write", result);
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
	struct connection *connection = tls;
	int result;

	do
		result = mbedtls_ssl_read(&connection->ssl, buffer, size);
	while (again(connection, result));
	if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		return 0;
	if (result < 0)
		fail("mbedtls_ssl_read", result);
	return result;
}

void tls_close(void *tls)
{
	struct connection *connection = tls;

	mbedtls_ssl_close_notify(&connection->ssl);
	if (is_style("reset"))
		return;
	mbedtls_ssl_free(&connection->ssl);
	free(connection);
}
