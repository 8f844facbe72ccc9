/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backend `kprobe`: tcp_sendmsg and tcp_recvmsg.
 *
 * Their arguments are remembered at entry; the bytes are read at the end,
 * when the pages are there and it is known how many were really taken. The
 * end is not a kretprobe: it has max(10, 2 * CPUs) slots, and threads that
 * block in a call hold theirs, so that others' returns are silently missed.
 * Instead: what runs in the same task, under the socket's lock, once bytes
 * were moved - tcp_push(sk) after a send, tcp_cleanup_rbuf(sk, copied) after
 * a receive. Both may run several times in one call and then report what has
 * come since the last time. Where a kernel has inlined them, kretprobes take
 * their place.
 */

EMITTER(kprobe, "kprobe")

struct call {
	struct who who;
	__u64 sk;
	__u64 entry_ns;
	struct cursor cursor;
	/* Bytes the caller asked for. */
	__u64 count;
	/* Bytes reported so far. */
	__u64 done;
	/* Sends: write_seq before the first byte. Receives: copied_seq so far. */
	__u32 seq;
	__u32 direction;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

static __always_inline void call_begin(const struct who *who, struct call *call)
{
	__u64 id = who->id;

	call->who = *who;
	call->entry_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&calls, &id, call, BPF_ANY))
		count_lost(LOST_CALLS, 1);
}

/* The call of this thread, if it is the one on this socket. */
static __always_inline struct call *call_on(struct sock *sk, __u32 direction)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &id);

	if (!call || call->sk != (__u64)sk || call->direction != direction)
		return NULL;
	return call;
}

static __always_inline void call_report(void *ctx, struct call *call, __u64 bytes, __u32 seq)
{
	struct transfer t = {
		.sk = (void *)call->sk,
		.cursor = call->cursor,
		.skip = call->done,
		.bytes = bytes,
		.entry_ns = call->entry_ns,
		.seq = seq,
		.direction = call->direction,
	};
	struct who who = call->who;

	call->done += bytes;
	report(ctx, &who, &t, &kprobe_emitters);
}

static __always_inline int send_begin(struct sock *sk, struct msghdr *msg, __u64 count)
{
	struct call call = {
		.sk = (__u64)sk,
		.count = count,
		.direction = DIRECTION_SEND,
	};
	struct who who;

	if (!watch_current(&who))
		return 0;
	call.seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	if (msg)
		cursor_from_iter(&call.cursor, &msg->msg_iter);
	call_begin(&who, &call);
	return 0;
}

SEC("kprobe/tcp_sendmsg")
int tcp_sendmsg_enter(struct pt_regs *ctx)
{
	return send_begin((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx),
			  PT_REGS_PARM3(ctx));
}

/* sendfile before 6.5: pages, so a gap of known length. */
SEC("kprobe/tcp_sendpage")
int tcp_sendpage_enter(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct call *call = call_on(sk, DIRECTION_SEND);
	__u64 count = PT_REGS_PARM4(ctx);

	/*
	 * With MSG_SENDPAGE_NOTLAST (all pages of a batch but the last) no
	 * tcp_push follows: what such calls took is reported with the next.
	 */
	if (call && call->cursor.memory == MEMORY_NONE && call->done < call->count &&
	    BPF_CORE_READ((struct tcp_sock *)sk, write_seq) == call->seq + (__u32)call->count) {
		call->count += count;
		return 0;
	}
	return send_begin(sk, NULL, count);
}

/* With the lock held write_seq is exact, also if another thread was first. */
SEC("kprobe/tcp_sendmsg_locked")
int tcp_sendmsg_locked_enter(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct call *call = call_on(sk, DIRECTION_SEND);

	if (call && !call->done)
		call->seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	return 0;
}

SEC("kprobe/tcp_push")
int tcp_push_enter(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct call *call = call_on(sk, DIRECTION_SEND);
	__u32 start, taken;

	if (!call)
		return 0;
	start = call->seq + (__u32)call->done;
	taken = BPF_CORE_READ((struct tcp_sock *)sk, write_seq) - start;
	if (taken > call->count - call->done) {
		/* Fast open: the SYN and its data have moved write_seq too. */
		count_lost(LOST_CALLS, 1);
		call->seq += taken;
		return 0;
	}
	if (taken)
		call_report(ctx, call, taken, start);
	return 0;
}

SEC("kretprobe/tcp_sendmsg")
int tcp_sendmsg_exit(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &id);
	long ret = (int)PT_REGS_RC(ctx);
	__u32 seq;

	if (!call || call->direction != DIRECTION_SEND)
		return 0;
	if (ret > 0) {
		struct tcp_sock *tcp = (void *)call->sk;

		seq = BPF_CORE_READ(tcp, write_seq);
		call_report(ctx, call, ret, seq - (__u32)ret);
	}
	return 0;
}

SEC("kprobe/tcp_recvmsg")
int tcp_recvmsg_enter(struct pt_regs *ctx)
{
	struct tcp_sock *tcp = (void *)PT_REGS_PARM1(ctx);
	struct msghdr *msg = (void *)PT_REGS_PARM2(ctx);
	struct call call = {
		.sk = (__u64)tcp,
		.count = PT_REGS_PARM3(ctx),
		.direction = DIRECTION_RECEIVE,
	};
	__u64 fourth = PT_REGS_PARM4(ctx), fifth = PT_REGS_PARM5(ctx), flags;
	struct who who;
	__u64 id;

	/* Read both: the verifier forbids a choice of where in ctx to read. */
	asm volatile("" : "+r"(fourth), "+r"(fifth));
	flags = recvmsg_flags_arg == 4 ? fifth : fourth;
	if (!watch_current(&who))
		return 0;
	if (flags & MSG_NO_TRAFFIC) {
		/* Not traffic, and what was there before has ended. */
		id = who.id;
		bpf_map_delete_elem(&calls, &id);
		return 0;
	}
	call.seq = BPF_CORE_READ(tcp, copied_seq);
	if (!(flags & MSG_TRUNC))
		cursor_from_iter(&call.cursor, &msg->msg_iter);
	call_begin(&who, &call);
	return 0;
}

SEC("kprobe/tcp_cleanup_rbuf")
int tcp_cleanup_rbuf_enter(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct call *call = call_on(sk, DIRECTION_RECEIVE);
	int copied = (int)PT_REGS_PARM2(ctx);
	__u64 fresh;
	__u32 seq;

	if (!call || copied < 0)
		return 0;
	if (copied == 0 && call->count) {
		report_eof(sk);
		return 0;
	}
	/*
	 * setsockopt(TCP_QUICKACK) comes here with copied = 1, long after the
	 * call: nothing was read then.
	 */
	seq = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	if (seq == call->seq)
		return 0;
	call->seq = seq;
	if ((__u64)copied <= call->done || (__u64)copied > call->count)
		return 0;
	fresh = copied - call->done;
	call_report(ctx, call, fresh, received_seq(sk) - (__u32)fresh);
	return 0;
}

SEC("kretprobe/tcp_recvmsg")
int tcp_recvmsg_exit(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &id);
	long ret = (int)PT_REGS_RC(ctx);

	if (!call || call->direction != DIRECTION_RECEIVE)
		return 0;
	if (ret > 0) {
		__u32 seq = received_seq((struct sock *)call->sk);

		call_report(ctx, call, ret, seq - (__u32)ret);
	} else if (ret == 0 && call->count) {
		report_eof((struct sock *)call->sk);
	}
	return 0;
}

/* Reads past the application (splice): what it did before has ended. */
SEC("kprobe/tcp_splice_read")
int tcp_splice_read_enter(struct pt_regs *ctx __attribute__((unused)))
{
	__u64 id = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&calls, &id);
	return 0;
}
