/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connections: their facts, TLS on them, and the report of their bytes. */
#ifndef HTTPSNIFF_CONN_H
#define HTTPSNIFF_CONN_H

#include "emit.h"

#define AF_INET 2
#define AF_INET6 10
#define RCV_SHUTDOWN 1
/* MSG_OOB, MSG_PEEK, MSG_ERRQUEUE: the stream does not move. */
#define MSG_NO_TRAFFIC (1 | 2 | 0x2000)
/* The stream moves, the buffer is not written. */
#define MSG_TRUNC 0x20
/* Bits of skc_flags: the process has closed it; the peer's FIN has come. */
#define SOCK_DEAD 1
#define SOCK_DONE 2

static __always_inline void conn_read(struct conn *conn, struct sock *sk)
{
	struct sock_common *common = &sk->__sk_common;

	conn->born = bpf_ktime_get_ns();
	conn->family = BPF_CORE_READ(common, skc_family);
	conn->local_port = BPF_CORE_READ(common, skc_num);
	conn->peer_port = __builtin_bswap16(BPF_CORE_READ(common, skc_dport));
	conn->netns = BPF_CORE_READ(common, skc_net.net, ns.inum);
	if (conn->family == AF_INET) {
		BPF_CORE_READ_INTO((__u32 *)conn->local, common, skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32 *)conn->peer, common, skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&conn->local, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&conn->peer, common, skc_v6_daddr.in6_u.u6_addr8);
	}
}

/* Whether the entry is this socket's, not that of an earlier one. */
static __always_inline bool conn_has_ports(const struct conn *conn, struct sock *sk)
{
	struct sock_common *common = &sk->__sk_common;

	return conn->local_port == BPF_CORE_READ(common, skc_num) &&
	       conn->peer_port == __builtin_bswap16(BPF_CORE_READ(common, skc_dport));
}

/* The connection's entry, made if it is not there. */
static __always_inline struct conn *conn_of(struct sock *sk, __u32 flags)
{
	struct conn *conn, fresh = {};
	__u64 key = (__u64)sk;

	conn = bpf_map_lookup_elem(&conns, &key);
	if (conn)
		return conn;
	fresh.flags = flags;
	conn_read(&fresh, sk);
	bpf_map_update_elem(&conns, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&conns, &key);
}

static __always_inline void record_conn(struct record *head, const struct conn *conn)
{
	head->netns = conn->netns;
	head->family = conn->family;
	head->local_port = conn->local_port;
	head->peer_port = conn->peer_port;
	__builtin_memcpy(head->local, conn->local, sizeof(head->local));
	__builtin_memcpy(head->peer, conn->peer, sizeof(head->peer));
	if (conn->flags & CONN_FROM_START)
		head->flags |= FLAG_FROM_START;
}

static __always_inline void record_who(struct record *head, const struct who *who)
{
	head->pid = who->pid;
	head->tid = who->tid;
	head->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(head->thread, sizeof(head->thread));
}

static __always_inline struct tls_conn *tls_conn_known(__u64 object, __u64 tgid)
{
	struct tls_key key = { .object = object, .tgid = tgid };

	return bpf_map_lookup_elem(&tls_conns, &key);
}

static __always_inline struct tls_conn *tls_conn_of(__u64 object, __u64 tgid)
{
	struct tls_key key = { .object = object, .tgid = tgid };
	struct tls_conn *tls = bpf_map_lookup_elem(&tls_conns, &key);

	if (!tls) {
		struct tls_conn fresh = { .born = bpf_ktime_get_ns() };

		bpf_map_update_elem(&tls_conns, &key, &fresh, BPF_NOEXIST);
		tls = bpf_map_lookup_elem(&tls_conns, &key);
	}
	return tls;
}

static __always_inline void record_tls(struct record *head, const struct tls_conn *tls,
				       __u64 object, __u8 source)
{
	head->source = source;
	head->object = object;
	head->born = tls->born;
	if (tls->from_start)
		head->flags |= FLAG_FROM_START;
	if (tls->socket) {
		head->socket = tls->socket;
		head->socket_born = tls->conn.born;
		record_conn(head, &tls->conn);
	}
}

/* Type 20 to 23, version 3.x: a TLS record (RFC 8446 5.1). */
static __always_inline bool looks_like_tls(const struct cursor *cursor)
{
	__u8 start[3] = {};

	if (!cursor_peek(cursor, start, sizeof(start)))
		return false;
	return start[0] >= 0x14 && start[0] <= 0x17 && start[1] == 3 && start[2] <= 4;
}

/* What a hook on a plaintext socket has found. */
struct transfer {
	struct sock *sk;
	struct cursor cursor;
	/* Bytes of the call that have been reported already. */
	__u64 skip;
	/* Bytes to report now. */
	__u64 bytes;
	__u64 entry_ns;
	/* Sequence number of the first of them. */
	__u32 seq;
	__u8 direction;
	__u8 flags;
};

/*
 * The sequence number after the last byte that was received. A call that takes
 * the last byte takes the FIN with it, which counts as one: then copied_seq
 * has reached rcv_nxt, which the FIN has moved. Not RCV_SHUTDOWN: a reset sets
 * that too, and has no sequence number.
 */
static __always_inline __u32 received_seq(struct sock *sk)
{
	struct tcp_sock *tcp = (struct tcp_sock *)sk;
	__u32 seq = BPF_CORE_READ(tcp, copied_seq);

	if (BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE &&
	    seq == BPF_CORE_READ(tcp, rcv_nxt))
		seq--;
	return seq;
}

#include "cipher.h"

/* More than a library and a BIO of the program have on the stack. */
#define STACK_OF_CALL (256 << 10)

#include "flow.h"

/* The innermost call into a TLS library that the thread is in. */
static __always_inline struct tls_call *tls_call_of(struct tls_thread *thread)
{
	__u64 top = thread->depth - 1;

	/* The verifier must see the check on what is then the index. */
	asm volatile("" : "+r"(top));
	if (top >= TLS_DEPTH)
		return NULL;
	return &thread->calls[top];
}

/* A goroutine's calls, without those of a program that is no more. */
static __always_inline struct tls_thread *tls_thread_of_go(const struct thread_key *key)
{
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, key);
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 mm;

	if (!thread)
		return NULL;
	mm = (__u64)BPF_CORE_READ(task, mm);
	if (thread->mm != mm) {
		thread->mm = mm;
		thread->depth = 0;
	}
	return thread;
}

/* Above all ids of threads (PID_MAX_LIMIT): an address, so that of a g. */
#define TASK_IDS_END (1 << 22)

/* The calls of the running goroutine, if this is one: its g is in R14. */
static __always_inline struct tls_thread *tls_goroutine(const struct who *who)
{
	struct thread_key key = { .tgid = who->id >> 32 };

	if (!user_register_r14(&key.task) || key.task <= TASK_IDS_END)
		return NULL;
	return tls_thread_of_go(&key);
}

/* The calls into TLS libraries that a socket call stands in. */
static __always_inline struct tls_thread *tls_thread_here(const struct who *who)
{
	struct thread_key key = { .tgid = who->id >> 32, .task = (__u32)who->id };
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &key);

	if ((!thread || !thread->depth) && go_attached)
		thread = tls_goroutine(who);
	return thread;
}

/*
 * Whether this is on the stack that the call was made on, and in it. Programs
 * with several stacks for a thread (fibers) may have gone over to another one.
 */
static __always_inline bool is_above(const struct tls_call *call, __u64 sp)
{
	return sp <= call->sp && call->sp - sp < STACK_OF_CALL;
}

/* As that, for the system call that runs. */
static __always_inline bool on_stack_of(const struct tls_call *call)
{
	/* Goroutines: counted from the end of the stack, which is checked. */
	if ((__s64)call->sp < 0)
		return true;
	return is_above(call, BPF_CORE_READ(user_registers(), sp));
}

/*
 * True if the transfer belongs to a TLS library on this thread. Then it is
 * ciphertext (with kernel TLS the plaintext once more) and never shown; it
 * tells which socket the TLS object uses.
 */
static __always_inline bool transfer_of_tls(const struct who *who, const struct transfer *t,
					    struct conn *conn)
{
	struct tls_thread *thread;
	struct tls_call *call;
	struct tls_conn *tls;

	if (!want_tls)
		return false;
	thread = tls_thread_here(who);
	if (!thread || !thread->depth)
		return false;
	call = tls_call_of(thread);
	if (!call)
		return true;
	if (call->flags & CALL_UNSURE) {
		tls = tls_conn_known(call->object, who->id >> 32);
		if (!(tls && (tls->socket || tls->from_start)) && !looks_like_tls(&t->cursor))
			return false;
	}
	/* Reading may also write: an alert, a new key. */
	if (call->direction != t->direction && call->direction != DIRECTION_NONE)
		return true;
	tls = tls_conn_of(call->object, who->id >> 32);
	if (!tls)
		return true;
	if (!tls_stands_on(tls, t->sk, conn)) {
		if (!looks_like_tls(&t->cursor) || !on_stack_of(call))
			return true;
		/* A BIO that writes may send what others have written as well. */
		if (last_cipher && t->direction == DIRECTION_SEND && cipher_sent(who, t, conn))
			return true;
	}
	tls_bind(tls, t->sk, conn, who->id >> 32);
	return true;
}

/* Reports what a plaintext socket carried, if it is to be reported. */
static __always_inline void report(void *ctx, const struct who *who, struct transfer *t,
				   void *emitters)
{
	struct socket_key key;
	struct conn *conn;
	struct job job;
	bool of_tls;

	conn = conn_of(t->sk, 0);
	if (!conn)
		return;
	of_tls = transfer_of_tls(who, t, conn);
	if (want_flows)
		flow_begin(t, conn);
	if ((of_tls || !want_tcp) && !(want_flows && conn->flags & CONN_HELLO))
		return;
	if (!of_tls && last_cipher && t->direction == DIRECTION_SEND)
		cipher_sent(who, t, conn);
	if (conn->flags & (CONN_TLS | CONN_BOUND) && !(want_flows && flow_hello(t, conn)))
		return;
	if (!(conn->flags & CONN_CLASSIFIED) && t->cursor.memory != MEMORY_NONE) {
		/* This one is still reported, so that TLS is known to be there. */
		conn->flags |= CONN_CLASSIFIED;
		if (looks_like_tls(&t->cursor))
			conn->flags |= CONN_TLS;
	}
	key.object = (__u64)t->sk;
	key.born = conn->born;
	if (bpf_map_lookup_elem(&muted, &key))
		return;

	conn->flags |= CONN_SEEN;
	__builtin_memset(&job, 0, sizeof(job));
	job.head.kind = RECORD_DATA;
	job.head.source = SOURCE_TCP;
	job.head.direction = t->direction;
	job.head.flags = t->flags;
	job.head.object = key.object;
	job.head.born = key.born;
	job.head.offset = t->seq;
	job.head.entry_ns = t->entry_ns;
	job.head.return_ns = bpf_ktime_get_ns();
	record_conn(&job.head, conn);
	record_who(&job.head, who);
	job.cursor = t->cursor;
	job.skip = t->skip;
	job.left = t->bytes;
	emit(ctx, who->id, &job, emitters);
}

/* Reports that a direction of a connection has ended, if data of it was. */
static __always_inline void report_end(struct sock *sk, struct conn *conn, __u8 kind,
				       __u8 direction, __u32 seq, __u8 flags)
{
	struct record head = {};

	if (!(conn->flags & (CONN_SEEN | CONN_BOUND)))
		return;
	head.kind = kind;
	head.source = SOURCE_TCP;
	head.direction = direction;
	head.flags = flags | (conn->flags & CONN_BOUND ? FLAG_BOUND : 0);
	head.object = (__u64)sk;
	head.born = conn->born;
	head.offset = seq;
	head.entry_ns = head.return_ns = bpf_ktime_get_ns();
	record_conn(&head, conn);
	emit_bare(&head);
}

/* The connection's last record; its entry goes. */
static __always_inline void report_close(struct sock *sk, struct conn *conn)
{
	__u64 key = (__u64)sk;

	if (want_flows) {
		flow_report(sk, conn);
		bpf_map_delete_elem(&flows, &key);
	}
	report_end(sk, conn, RECORD_CLOSE, DIRECTION_SEND, 0,
		   conn->flags & CONN_RESET ? FLAG_RESET : 0);
	bpf_map_delete_elem(&conns, &key);
}

/* A receive returned 0: the peer's FIN, if it was that. */
static __always_inline void report_eof(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);

	if (!conn || !(BPF_CORE_READ_BITFIELD_PROBED(sk, sk_shutdown) & RCV_SHUTDOWN))
		return;
	report_end(sk, conn, RECORD_END, DIRECTION_RECEIVE, received_seq(sk), 0);
	if (conn->flags & CONN_CLOSED)
		report_close(sk, conn);
}

#endif
