/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connections that begin with TLS and that nobody may read (--tls-flows): the
 * beginning of each direction goes to user space, which finds the hellos in it;
 * bytes are counted by the kernel's own numbers, so that a call costs nothing.
 */
#ifndef HTTPSNIFF_FLOW_H
#define HTTPSNIFF_FLOW_H

/* Calls of a direction that are let through: a hello may come in pieces. */
#define HELLO_CALLS 16
/* Bytes of one call: a record of the greatest length. */
#define HELLO_BYTES (5 + 16384)

/* What was there when a connection was first seen. */
struct flow {
	/* Totals of bytes sent and received. */
	__u64 bytes[2];
	/* Sent when the sending ended, the FIN not counted. */
	__u64 sent;
	/* Sequence numbers of the first bytes. */
	__u32 seq[2];
	__u8 calls[2];
	__u8 sent_all;
	__u8 pad[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct flow);
} flows SEC(".maps");

/*
 * Bytes since the connection began, but for a constant: the SYN, and what is
 * acknowledged while this runs without the socket's lock.
 */
static __always_inline __u64 flow_bytes(struct sock *sk, __u32 direction)
{
	struct tcp_sock *tcp = (struct tcp_sock *)sk;
	__u32 unacked, unread;

	if (direction == DIRECTION_SEND) {
		unacked = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);
		return BPF_CORE_READ(tcp, bytes_acked) + unacked;
	}
	unread = BPF_CORE_READ(tcp, rcv_nxt) - received_seq(sk);
	return BPF_CORE_READ(tcp, bytes_received) - unread;
}

/* Bytes since the connection was first seen: the low half is exact. */
static __always_inline __u64 flow_since(struct sock *sk, const struct flow *flow, __u32 direction)
{
	__u64 total = flow_bytes(sk, direction) - flow->bytes[direction & 1];
	__u32 seq;

	if (direction == DIRECTION_SEND)
		seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	else
		seq = received_seq(sk);
	return total + (__s32)(seq - flow->seq[direction & 1] - (__u32)total);
}

/* The first transfer on a connection that has been seen. */
static __always_inline void flow_begin(const struct transfer *t, struct conn *conn)
{
	struct sock *sk = t->sk;
	__u64 key = (__u64)sk;
	struct flow flow = {};

	if (conn->flags & CONN_COUNTED)
		return;
	conn->flags |= CONN_COUNTED;
	flow.bytes[0] = flow_bytes(sk, DIRECTION_SEND);
	flow.bytes[1] = flow_bytes(sk, DIRECTION_RECEIVE);
	flow.seq[0] = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	flow.seq[1] = received_seq(sk);
	/* These bytes are the first, and have been counted above. */
	if (t->direction == DIRECTION_SEND)
		flow.seq[0] = t->seq;
	else
		flow.seq[1] = t->seq;
	bpf_map_update_elem(&flows, &key, &flow, BPF_ANY);
	if (!(conn->flags & CONN_CLASSIFIED) && t->cursor.memory != MEMORY_NONE) {
		conn->flags |= CONN_CLASSIFIED;
		if (looks_like_tls(&t->cursor))
			conn->flags |= CONN_TLS | CONN_HELLO;
	}
}

/* Whether the transfer may be part of a hello; it is cut to what is wanted. */
static __always_inline bool flow_hello(struct transfer *t, struct conn *conn)
{
	__u64 key = (__u64)t->sk;
	struct flow *flow;

	if (!(conn->flags & CONN_HELLO))
		return false;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return false;
	if (flow->calls[t->direction & 1] >= HELLO_CALLS) {
		if (flow->calls[~t->direction & 1] >= HELLO_CALLS)
			conn->flags &= ~CONN_HELLO;
		return false;
	}
	flow->calls[t->direction & 1]++;
	if (t->bytes > HELLO_BYTES)
		t->bytes = HELLO_BYTES;
	return true;
}

/* The sending ends now: a FIN follows, which write_seq will count. */
static __always_inline void flow_sent_all(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct flow *flow = bpf_map_lookup_elem(&flows, &key);

	if (!flow || flow->sent_all)
		return;
	flow->sent = flow_since(sk, flow, DIRECTION_SEND);
	flow->sent_all = 1;
}

/* Reports how many bytes have gone by. */
static __always_inline void flow_report(struct sock *sk, const struct conn *conn)
{
	struct {
		struct record head;
		struct counts counts;
	} * r;
	__u64 key = (__u64)sk;
	struct flow *flow;

	if (!(conn->flags & CONN_SEEN))
		return;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(LOST_RECORDS, 1);
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->head.kind = RECORD_COUNTS;
	r->head.source = SOURCE_TCP;
	r->head.object = key;
	r->head.born = conn->born;
	r->head.entry_ns = r->head.return_ns = bpf_ktime_get_ns();
	r->head.len = sizeof(r->counts);
	r->counts.sent = flow->sent_all ? flow->sent : flow_since(sk, flow, DIRECTION_SEND);
	r->counts.received = flow_since(sk, flow, DIRECTION_RECEIVE);
	bpf_ringbuf_submit(r, wakeup_flags());
}

#endif
