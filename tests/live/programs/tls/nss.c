// NSS. Styles: plain (PR_Read, PR_Write); send-recv (PR_Send, and PR_Recv after
// PR_Recv with PR_MSG_PEEK); writev (and PR_SendFile for files); nonblocking;
// clear (no TLS: the same functions on a plain socket, and on a file).
// CERTIFICATE is a folder with NSS's database, KEY the certificate's nickname.
#include "peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <nspr.h>
#include <private/pprio.h>
#include <nss.h>
#include <pk11pub.h>
#include <ssl.h>
#include <sslproto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CERTCertificate *certificate;
static SECKEYPrivateKey *private_key;

static PRFileDesc *model;

static SECStatus accept_any(void *argument, PRFileDesc *fd, PRBool check, PRBool is_server)
{
	(void)argument, (void)fd, (void)check, (void)is_server;
	return SECSuccess;
}

void tls_init(bool server, const char *folder, const char *nickname)
{
	char database[4096];

	snprintf(database, sizeof(database), "sql:%s", folder);
	PR_Init(PR_USER_THREAD, PR_PRIORITY_NORMAL, 0);
	if ((server ? NSS_Init(database) : NSS_NoDB_Init(NULL)) != SECSuccess)
		fail("NSS_Init", PR_GetError());
	NSS_SetDomesticPolicy();
	if (!server)
		return;
	SSL_ConfigServerSessionIDCache(0, 0, 0, NULL);
	certificate = PK11_FindCertFromNickname(nickname, NULL);
	if (certificate)
		private_key = PK11_FindKeyByAnyCert(certificate, NULL);
	if (!private_key)
		fail("certificate", PR_GetError());
	model = SSL_ImportFD(NULL, PR_NewTCPSocket());
	if (!model || SSL_ConfigServerCert(model, certificate, private_key, NULL, 0) != SECSuccess)
		fail("SSL_ConfigServerCert", PR_GetError());
}

static bool again(PRFileDesc *fd, PRInt32 result, bool write)
{
	PRPollDesc poll = { .fd = fd, .in_flags = write ? PR_POLL_WRITE : PR_POLL_READ };

	if (result >= 0 || PR_GetError() != PR_WOULD_BLOCK_ERROR)
		return false;
	agains++;
	PR_Poll(&poll, 1, PR_SecondsToInterval(30));
	return true;
}

void *tls_open(bool server, int fd)
{
	// A descriptor of its own: PR_Close closes it.
	PRFileDesc *tcp = PR_ImportTCPSocket(dup(fd)), *ssl;
	PRSocketOptionData option = { .option = PR_SockOpt_Nonblocking };

	option.value.non_blocking = is_style("nonblocking");
	PR_SetSocketOption(tcp, &option);
	if (is_style("clear"))
		return tcp;
	ssl = SSL_ImportFD(model, tcp);
	if (!ssl)
		fail("SSL_ImportFD", PR_GetError());
	SSL_OptionSet(ssl, SSL_SECURITY, PR_TRUE);
	SSL_OptionSet(ssl, server ? SSL_HANDSHAKE_AS_SERVER : SSL_HANDSHAKE_AS_CLIENT, PR_TRUE);
	SSL_AuthCertificateHook(ssl, accept_any, NULL);
	SSL_SetURL(ssl, "localhost");
	SSL_ResetHandshake(ssl, server);
	// With “writev” the handshake is left to the first transfer.
	if (!is_style("writev")) {
		SECStatus status;

		do
			status = SSL_ForceHandshake(ssl);
		while (status != SECSuccess && again(ssl, -1, false));
		if (status != SECSuccess)
			fail("SSL_ForceHandshake", PR_GetError());
	}
	return ssl;
}

static PRInt32 send_once(PRFileDesc *fd, char *data, PRInt32 length)
{
	if (is_style("send-recv"))
		return PR_Send(fd, data, length, 0, PR_INTERVAL_NO_TIMEOUT);
	if (is_style("writev") && length > 2) {
		PRIOVec parts[3] = {
			{ data, 1 },
			{ data + 1, length / 2 },
			{ data + 1 + length / 2, length - 1 - length / 2 },
		};

		return PR_Writev(fd, parts, 3, PR_INTERVAL_NO_TIMEOUT);
	}
	return PR_Write(fd, data, length);
}

void tls_send(void *tls, const void *data, size_t length)
{
	size_t sent = 0;

	while (sent < length) {
		PRInt32 result;

		do
			result = send_once(tls, (char *)data + sent, length - sent);
		while (again(tls, result, true));
		if (result <= 0)
			fail("send", PR_GetError());
		sent += result;
	}
}

void tls_send_file(void *tls, int file, size_t length)
{
	if (is_style("writev")) {
		PRSendFileData data = { .fd = PR_ImportFile(dup(file)) };

		if (length &&
		    PR_SendFile(tls, &data, PR_TRANSMITFILE_KEEP_OPEN, PR_INTERVAL_NO_TIMEOUT) !=
			    (PRInt32)length)
			fail("PR_SendFile", PR_GetError());
		PR_Close(data.fd);
		return;
	}
	// Through NSPR: a file that is neither a socket nor TLS.
	PRFileDesc *from = PR_ImportFile(dup(file));
	char *content = malloc(length + 1);

	if (PR_Read(from, content, length) != (PRInt32)length)
		fail("PR_Read", PR_GetError());
	PR_Close(from);
	if (length)
		tls_send(tls, content, length);
	free(content);
}

size_t tls_receive(void *tls, void *buffer, size_t size)
{
	PRInt32 result;

	do {
		if (is_style("send-recv")) {
			PR_Recv(tls, buffer, size, PR_MSG_PEEK, PR_INTERVAL_NO_TIMEOUT);
			result = PR_Recv(tls, buffer, size, 0, PR_INTERVAL_NO_TIMEOUT);
		} else {
			result = PR_Read(tls, buffer, size);
		}
	} while (again(tls, result, false));
	if (result < 0)
		fail("receive", PR_GetError());
	return result;
}

void tls_close(void *tls)
{
	PR_Close(tls);
}
