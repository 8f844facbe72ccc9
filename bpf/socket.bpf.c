/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backend `socket`: plaintext without kprobes. The raw tracepoints
 * sock_send_length and sock_recv_length (6.3 and later) run in the caller's
 * context once the protocol is done; the system call's registers then name
 * the buffers. io_uring, sendfile and splice have none: a gap.
 */

EMITTER(socket, "raw_tp")

#define IPPROTO_TCP 6
#define USER_CS 0x33
#define ENOSYS 38

enum {
	NR_read = 0,
	NR_write = 1,
	NR_readv = 19,
	NR_writev = 20,
	NR_sendto = 44,
	NR_recvfrom = 45,
	NR_sendmsg = 46,
	NR_recvmsg = 47,
	NR_recvmmsg = 299,
	NR_sendmmsg = 307,
	NR_preadv2 = 327,
	NR_pwritev2 = 328,
};

/* The application's struct user_msghdr and struct mmsghdr. */
struct user_msghdr {
	__u64 name;
	__u32 namelen;
	__u32 pad;
	__u64 iov;
	__u64 iovlen;
	__u64 control;
	__u64 controllen;
	__u64 flags;
};

struct user_mmsghdr {
	struct user_msghdr header;
	__u64 length;
};

/*
 * sendmmsg and recvmmsg pass here once for each message, and nothing says
 * which: the index is kept per thread. A call that ended early is noticed by
 * its last message (failed, or sent in part) and starts anew.
 */
struct mmsg {
	__u64 array;
	__u64 count;
	__u64 index;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct mmsg);
} mmsgs SEC(".maps");

static __always_inline void cursor_from_msghdr(struct cursor *cursor, __u64 address)
{
	struct user_msghdr header;

	if (bpf_probe_read_user(&header, sizeof(header), (void *)address))
		return;
	cursor->memory = MEMORY_USER_IOVEC;
	cursor->base = header.iov;
	cursor->segments = header.iovlen;
}

/*
 * Whether a message's buffers hold more than `bytes`. A global function: see
 * emit_next.
 */
__noinline int is_partial(__u64 iov, __u64 segments, __u64 bytes)
{
	struct cursor cursor = { .memory = MEMORY_USER_IOVEC, .base = iov, .segments = segments };
	__u64 total = 0;

	for (int i = 0; i < 16; i++) {
		struct iovec segment = {};

		if (!cursor_segment(&cursor, &segment))
			break;
		total += (__u64)segment.iov_len;
		cursor.base += sizeof(segment);
		cursor.segments--;
	}
	return total > bytes;
}

static __always_inline void cursor_from_mmsg(struct cursor *cursor, __u64 id, __u64 array,
					     __u64 count, int ret, bool send)
{
	struct mmsg *known = bpf_map_lookup_elem(&mmsgs, &id), fresh = {};
	__u64 index = 0;

	if (known && known->array == array && known->count == count)
		index = known->index;
	if (ret > 0)
		cursor_from_msghdr(cursor, array + index * sizeof(struct user_mmsghdr));
	if (ret <= 0 || index + 1 >= count ||
	    (send && is_partial(cursor->base, cursor->segments, ret))) {
		bpf_map_delete_elem(&mmsgs, &id);
		return;
	}
	fresh.array = array;
	fresh.count = count;
	fresh.index = index + 1;
	bpf_map_update_elem(&mmsgs, &id, &fresh, BPF_ANY);
}

/* The buffers that the running system call names. */
static __always_inline void cursor_from_syscall(struct cursor *cursor, __u64 id, int ret,
						bool send)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct pt_regs *regs = (void *)bpf_task_pt_regs((void *)task);
	__u64 second, third;

	cursor->memory = MEMORY_NONE;
	/* A 32-bit task numbers its calls otherwise and has other structs. */
	if ((regs->cs & 0xffff) != USER_CS)
		return;
	/*
	 * The result is set when the call is done. What io_uring does after
	 * that, on the way back to the process or in a worker (which has a copy
	 * of the registers), is not this call's.
	 */
	if (regs->ax != (unsigned long)-ENOSYS)
		return;
	second = regs->si;
	third = regs->dx;
	switch (regs->orig_ax) {
	case NR_read:
	case NR_recvfrom:
		if (send)
			return;
		break;
	case NR_write:
	case NR_sendto:
		if (!send)
			return;
		break;
	case NR_readv:
	case NR_writev:
	case NR_preadv2:
	case NR_pwritev2:
		cursor->memory = MEMORY_USER_IOVEC;
		cursor->base = second;
		cursor->segments = third;
		return;
	case NR_sendmsg:
	case NR_recvmsg:
		cursor_from_msghdr(cursor, second);
		return;
	case NR_sendmmsg:
	case NR_recvmmsg:
		cursor_from_mmsg(cursor, id, second, third, ret, send);
		return;
	default:
		return;
	}
	cursor->memory = MEMORY_USER;
	cursor->base = second;
}

static __always_inline bool is_tcp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

SEC("raw_tp/sock_send_length")
int sock_send(struct bpf_raw_tracepoint_args *ctx)
{
	struct transfer t = {
		.sk = (void *)ctx->args[0],
		.direction = DIRECTION_SEND,
	};
	struct tcp_sock *tcp = (void *)t.sk;
	int ret = ctx->args[1];
	struct who who;
	__u64 now, sent;

	if (!watch_current(&who) || !is_tcp(t.sk))
		return 0;
	cursor_from_syscall(&t.cursor, who.id, ret, true);
	if (ret <= 0)
		return 0;
	t.bytes = ret;
	t.seq = BPF_CORE_READ(tcp, write_seq) - ret;
	/*
	 * No hook has seen the call begin. The time at which the last segment
	 * left is before anyone can have answered it. If none of these bytes has
	 * left (MSG_MORE, a full window), it is of an earlier call.
	 */
	now = bpf_ktime_get_ns();
	sent = BPF_CORE_READ(tcp, tcp_wstamp_ns);
	if ((__s32)(BPF_CORE_READ(tcp, snd_nxt) - t.seq) <= 0)
		sent = now;
	t.entry_ns = sent && sent < now ? sent : now;
	t.flags = FLAG_NO_ENTRY;
	report(ctx, &who, &t, &socket_emitters);
	return 0;
}

SEC("raw_tp/sock_recv_length")
int sock_recv(struct bpf_raw_tracepoint_args *ctx)
{
	struct transfer t = {
		.sk = (void *)ctx->args[0],
		.direction = DIRECTION_RECEIVE,
	};
	int ret = ctx->args[1], flags = ctx->args[2];
	struct who who;

	if (!watch_current(&who) || !is_tcp(t.sk))
		return 0;
	cursor_from_syscall(&t.cursor, who.id, ret, false);
	if (flags & MSG_NO_TRAFFIC || ret < 0)
		return 0;
	if (ret == 0) {
		report_eof(t.sk);
		return 0;
	}
	if (flags & MSG_TRUNC)
		t.cursor.memory = MEMORY_NONE;
	t.bytes = ret;
	t.seq = received_seq(t.sk) - ret;
	t.entry_ns = bpf_ktime_get_ns();
	t.flags = FLAG_NO_ENTRY;
	report(ctx, &who, &t, &socket_emitters);
	return 0;
}
