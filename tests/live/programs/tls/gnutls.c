// GnuTLS. Styles: plain; cork; range-seq (gnutls_record_send_range,
// gnutls_record_recv_seq); send2; packet (gnutls_record_recv_packet);
// nonblocking (a full socket: the same arguments once more);
// nonblocking-null (a full socket: NULL and 0 instead).
#include "peer.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gnutls_certificate_credentials_t credentials;
// As large as the largest body, for gnutls_record_send_range's padding.
static gnutls_range_st range = { .low = 0, .high = 16000 };

void tls_init(bool server, const char *certificate, const char *key)
{
	int error = gnutls_certificate_allocate_credentials(&credentials);

	if (!error && server)
		error = gnutls_certificate_set_x509_key_file(credentials, certificate, key,
							     GNUTLS_X509_FMT_PEM);
	if (error < 0)
		fail("credentials", error);
}

static bool again(gnutls_session_t session, long result)
{
	if (result != GNUTLS_E_AGAIN && result != GNUTLS_E_INTERRUPTED)
		return false;
	await(gnutls_transport_get_int(session), gnutls_record_get_direction(session));
	return true;
}

void *tls_open(bool server, int fd)
{
	gnutls_session_t session;
	int error = gnutls_init(&session, server ? GNUTLS_SERVER : GNUTLS_CLIENT);

	if (error)
		fail("gnutls_init", error);
	gnutls_set_default_priority(session);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	if (!server)
		gnutls_server_name_set(session, GNUTLS_NAME_DNS, "localhost", 9);
	gnutls_transport_set_int(session, fd);
	do
		error = gnutls_handshake(session);
	while (again(session, error) || (error < 0 && !gnutls_error_is_fatal(error)));
	if (error)
		fail(gnutls_strerror(error), error);
	return session;
}

static ssize_t send_once(gnutls_session_t session, const void *data, size_t length)
{
	if (is_style("range-seq")) {
		range.low = length < 16000 ? length : 16000;
		return gnutls_record_send_range(session, data, range.low, &range);
	}
	if (is_style("send2"))
		return gnutls_record_send2(session, data, length, 0, 0);
	return gnutls_record_send(session, data, length);
}

void tls_send(void *tls, const void *data, size_t length)
{
	size_t sent = 0;

	if (is_style("cork"))
		gnutls_record_cork(tls);
	while (sent < length) {
		// Corked, everything is taken; in pieces, so that there are several.
		size_t piece = is_style("cork") && length - sent > 5000 ? 5000 : length - sent;
		ssize_t result = send_once(tls, (const char *)data + sent, piece);

		while (again(tls, result)) {
			if (is_style("nonblocking-null"))
				result = gnutls_record_send(tls, NULL, 0);
			else
				result = send_once(tls, (const char *)data + sent, piece);
		}
		if (result <= 0)
			fail("send", result);
		sent += result;
	}
	if (is_style("cork")) {
		int result = gnutls_record_uncork(tls, GNUTLS_RECORD_WAIT);

		if (result < 0)
			fail("gnutls_record_uncork", result);
	}
}

void tls_send_file(void *tls, int file, size_t length)
{
	if (is_style("send2")) {
		while (length) {
			ssize_t sent = gnutls_record_send_file(tls, file, NULL, length);

			if (sent <= 0)
				fail("gnutls_record_send_file", sent);
			length -= sent;
		}
		return;
	}
	char *content = malloc(length + 1);

	if (read(file, content, length) != (ssize_t)length)
		fail("read", 0);
	if (length)
		tls_send(tls, content, length);
	free(content);
}

static ssize_t receive_packet(gnutls_session_t session, void *buffer, size_t size)
{
	// A packet may be larger than what was asked for.
	static char left[20000];
	static size_t start, end;

	if (start == end) {
		gnutls_packet_t packet;
		gnutls_datum_t datum;
		ssize_t result = gnutls_record_recv_packet(session, &packet);

		if (result <= 0)
			return result;
		gnutls_packet_get(packet, &datum, NULL);
		memcpy(left, datum.data, datum.size);
		start = 0;
		end = datum.size;
		gnutls_packet_deinit(packet);
	}
	if (size > end - start)
		size = end - start;
	memcpy(buffer, left + start, size);
	start += size;
	return size;
}

size_t tls_receive(void *tls, void *buffer, size_t size)
{
	unsigned char sequence[8];
	ssize_t result;

	do {
		if (is_style("packet"))
			result = receive_packet(tls, buffer, size);
		else if (is_style("range-seq"))
			result = gnutls_record_recv_seq(tls, buffer, size, sequence);
		else
			result = gnutls_record_recv(tls, buffer, size);
	} while (again(tls, result));
	if (result == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	if (result < 0)
		fail(gnutls_strerror(result), result);
	return result;
}

void tls_close(void *tls)
{
	gnutls_bye(tls, GNUTLS_SHUT_WR);
	gnutls_deinit(tls);
}
