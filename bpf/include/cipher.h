/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which socket a TLS object uses that writes into memory: the same ciphertext
 * is seen twice, when the library hands it to the BIO of the object, and when
 * somebody, on whatever thread, sends it.
 *
 * Included by conn.h, whose part it is.
 */
#ifndef HTTPSNIFF_CIPHER_H
#define HTTPSNIFF_CIPHER_H

/* How much of a record is remembered. Of what is accepted, the last 11 bytes
 * and more are random. */
#define CIPHER_BYTES 24
/* Records at the beginning of a buffer that are looked at. */
#define CIPHER_RECORDS 4

struct cipher_key {
	__u64 tgid;
	__u8 start[CIPHER_BYTES];
};

/* The object that wrote it; 0: more than one did. */
struct cipher {
	__u64 object;
	__u64 born;
	/* enum record_source. */
	__u64 source;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cipher_key);
	__type(value, struct cipher);
} ciphers SEC(".maps");

/* When one was last put there; 0: never, and no send is looked at. */
__u64 last_cipher = 0;

/*
 * Whether no two records begin with these 24 bytes: encrypted data, or a hello
 * with its random number. Not a HelloRetryRequest, whose random number is a
 * constant (RFC 8446 4.1.3), nor a certificate, a change of cipher spec or an
 * alert.
 */
static __always_inline bool cipher_is_unique(const __u8 *start)
{
	if (start[0] == 0x17)
		return true;
	if (start[0] != 0x16)
		return false;
	if (start[5] == 1)
		return true;
	return start[5] == 2 &&
	       !(start[11] == 0xcf && start[12] == 0x21 && start[13] == 0xad && start[14] == 0x74);
}

/*
 * The key of the record at an address, and its size; 0: there is none. A record
 * that is like others makes a key of zeros.
 */
static __always_inline __u64 cipher_key(struct cipher_key *key, __u64 address, __u64 length)
{
	__u8 *start = key->start;
	__u64 size;

	if (length < 5 || bpf_probe_read_user(start, 5, (void *)address))
		return 0;
	if (start[0] < 0x14 || start[0] > 0x17 || start[1] != 3 || start[2] > 4)
		return 0;
	size = 5 + ((__u64)start[3] << 8 | start[4]);
	if (size < CIPHER_BYTES || length < CIPHER_BYTES ||
	    bpf_probe_read_user(start, CIPHER_BYTES, (void *)address) || !cipher_is_unique(start))
		start[0] = 0;
	return size;
}

/* Whether a TLS object is known to stand on this connection. */
static __always_inline bool tls_stands_on(const struct tls_conn *tls, struct sock *sk,
					  const struct conn *conn)
{
	const __u64 *one = (const __u64 *)tls->conn.peer, *other = (const __u64 *)conn->peer;

	if (tls->socket != (__u64)sk)
		return false;
	if (tls->conn.born == conn->born)
		return true;
	/* When the table was full its entry was made anew. */
	return tls->conn.local_port == conn->local_port &&
	       tls->conn.peer_port == conn->peer_port && tls->conn.netns == conn->netns &&
	       one[0] == other[0] && one[1] == other[1];
}

/* A TLS object stands on this connection from now on. */
static __always_inline void tls_bind(struct tls_conn *tls, struct sock *sk, struct conn *conn,
				     __u64 tgid)
{
	if (tls_stands_on(tls, sk, conn)) {
		conn->born = tls->conn.born;
		conn->flags |= CONN_BOUND;
		return;
	}
	if (tls->socket) {
		/* The object has gone over to another connection. */
		tls->born = bpf_ktime_get_ns();
		tls->bytes[0] = 0;
		tls->bytes[1] = 0;
	}
	conn->flags = (conn->flags | CONN_BOUND) & ~CONN_VACANT;
	conn->tgid = tgid;
	tls->socket = (__u64)sk;
	tls->conn = *conn;
}

/* A record of the object begins with these bytes. */
static __always_inline void cipher_remember(const struct tls_conn *tls, __u64 object, __u8 source,
					    const struct cipher_key *key)
{
	struct cipher fresh = { .object = object, .born = tls->born, .source = source }, *known;

	known = bpf_map_lookup_elem(&ciphers, key);
	if (known) {
		if (known->object != object || known->born != tls->born)
			known->object = 0;
		return;
	}
	bpf_map_update_elem(&ciphers, key, &fresh, BPF_ANY);
	last_cipher = bpf_ktime_get_ns();
}

/* Whether the connection that an object stood on is still the same. */
static __always_inline bool socket_is_there(const struct tls_conn *tls)
{
	__u64 key = tls->socket;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);

	return conn && conn->born == tls->conn.born;
}

/* The object has written to its BIO. */
static __always_inline void cipher_written(__u64 object, __u64 tgid, __u64 address, __u64 length)
{
	struct tls_conn *tls = tls_conn_of(object, tgid);
	struct cipher_key key = {};

	if (!tls || (tls->socket && socket_is_there(tls)))
		return;
	key.tgid = tgid;
	if (!cipher_key(&key, address, length) || !key.start[0])
		return;
	cipher_remember(tls, object, SOURCE_OPENSSL, &key);
}

/* The connection that an object stood on may get another. */
static __always_inline void tls_vacate(const struct tls_conn *tls)
{
	__u64 key = tls->socket;
	struct conn *conn;

	if (!key)
		return;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (conn && conn->born == tls->conn.born)
		conn->flags |= CONN_VACANT;
}

/* What was reported of the object without its socket can be put on it. */
static __always_inline void tls_report_bound(const struct who *who, const struct tls_conn *tls,
					     __u64 object, __u8 source)
{
	struct record head = {};

	if (!tls->bytes[0] && !tls->bytes[1])
		return;
	head.kind = RECORD_BOUND;
	head.entry_ns = head.return_ns = bpf_ktime_get_ns();
	record_tls(&head, tls, object, source);
	record_who(&head, who);
	emit_bare(&head);
}

/*
 * The address of the first record there that has an entry in `ciphers`; 0: none
 * has. A global function: see emit_next.
 */
__noinline __u64 cipher_find(__u64 tgid, __u64 address, __u64 length)
{
	struct cipher_key key = { .tgid = tgid };

	for (int i = 0; i < CIPHER_RECORDS; i++) {
		__u64 size = cipher_key(&key, address, length);

		if (!size)
			return 0;
		if (key.start[0]) {
			struct cipher *cipher = bpf_map_lookup_elem(&ciphers, &key);

			if (cipher && cipher->object)
				return address;
		}
		if (size >= length)
			return 0;
		address += size;
		length -= size;
	}
	return 0;
}

/*
 * A connection has sent this: if an object has written it, the object stands
 * on the connection. True if so.
 */
static __always_inline bool cipher_sent(const struct who *who, const struct transfer *t,
					struct conn *conn)
{
	struct tls_key tls_key = { .tgid = who->id >> 32 };
	__u64 address, length, found;
	struct cipher_key key = {};
	struct cipher *cipher;
	struct tls_conn *tls;

	if (conn->flags & CONN_BOUND && conn->tgid == (__u32)tls_key.tgid &&
	    !(conn->flags & CONN_VACANT))
		return false;
	if (!cursor_first(&t->cursor, &address, &length))
		return false;
	if (length > t->skip + t->bytes)
		length = t->skip + t->bytes;
	key.tgid = tls_key.tgid;
	found = cipher_find(key.tgid, address, length);
	if (!found || !cipher_key(&key, found, length - (found - address)))
		return false;
	cipher = bpf_map_lookup_elem(&ciphers, &key);
	if (!cipher || !cipher->object)
		return false;
	tls_key.object = cipher->object;
	tls = bpf_map_lookup_elem(&tls_conns, &tls_key);
	if (tls && tls->born == cipher->born) {
		tls_bind(tls, t->sk, conn, tls_key.tgid);
		tls_report_bound(who, tls, tls_key.object, cipher->source);
	}
	bpf_map_delete_elem(&ciphers, &key);
	return true;
}

/*
 * What an object carries may be the records of another one: TLS in TLS, to a
 * server behind an https proxy. That one then stands on the same socket.
 * `inner` is the call that this one was made in, if there is one.
 */
static __always_inline void tls_in_tls(const struct who *who, const struct tls_call *inner,
				       const struct tls_call *call, const struct tls_conn *tls,
				       __u64 count)
{
	struct tls_key tls_key = { .tgid = who->id >> 32 };
	struct cipher_key key = { .tgid = who->id >> 32 };
	struct cipher *cipher;
	struct tls_conn *other;

	if (!tls->socket || call->flags & CALL_NO_BUFFER)
		return;
	if (!cipher_key(&key, call->buffer, count))
		return;
	if (inner) {
		if (inner->object == call->object ||
		    (inner->direction != call->direction && inner->direction != DIRECTION_NONE))
			return;
		tls_key.object = inner->object;
		other = tls_conn_of(tls_key.object, tls_key.tgid);
	} else {
		if (!key.start[0] || call->direction != DIRECTION_SEND)
			return;
		cipher = bpf_map_lookup_elem(&ciphers, &key);
		if (!cipher || !cipher->object)
			return;
		tls_key.object = cipher->object;
		other = bpf_map_lookup_elem(&tls_conns, &tls_key);
		if (other && other->born != cipher->born)
			other = NULL;
		bpf_map_delete_elem(&ciphers, &key);
	}
	if (!other || other->socket)
		return;
	other->socket = tls->socket;
	other->conn = tls->conn;
	tls_report_bound(who, other, tls_key.object, SOURCE_OPENSSL);
}

#endif
