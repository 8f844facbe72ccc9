/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The life of a TCP connection: sock:inet_sock_set_state (4.16 and later). */

#define TCP_ESTABLISHED 1
#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define ECONNRESET 104
#define EPIPE 32

SEC("raw_tp/inet_sock_set_state")
int sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (void *)ctx->args[0];
	int from = ctx->args[1], to = ctx->args[2];
	__u64 key = (__u64)sk;
	struct conn *conn;
	__u8 flags = 0;
	int error;

	if (to == TCP_ESTABLISHED) {
		/* What is there by this address is an earlier socket. */
		bpf_map_delete_elem(&conns, &key);
		conn_of(sk, CONN_FROM_START);
		return 0;
	}
	if (to != TCP_FIN_WAIT1 && to != TCP_LAST_ACK && to != TCP_CLOSE)
		return 0;
	conn = bpf_map_lookup_elem(&conns, &key);
	if (!conn)
		return 0;
	if (to != TCP_CLOSE) {
		report_end(sk, conn, RECORD_END, DIRECTION_SEND,
			   BPF_CORE_READ((struct tcp_sock *)sk, write_seq), 0);
		return 0;
	}
	error = BPF_CORE_READ(sk, sk_err);
	if (error == ECONNRESET || error == EPIPE || from == TCP_ESTABLISHED ||
	    from == TCP_CLOSE_WAIT)
		flags = FLAG_RESET;
	report_end(sk, conn, RECORD_CLOSE, DIRECTION_SEND, 0, flags);
	bpf_map_delete_elem(&conns, &key);
	return 0;
}
