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
	struct tcp_sock *tcp = (void *)sk;
	int error;

	if (to == TCP_ESTABLISHED) {
		conn = bpf_map_lookup_elem(&conns, &key);
		if (conn && conn_has_ports(conn, sk)) {
			/* Fast open: data came with the SYN. */
			conn->flags |= CONN_FROM_START;
			return 0;
		}
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
	if (want_flows)
		flow_sent_all(sk);
	if (to != TCP_CLOSE) {
		report_end(sk, conn, RECORD_END, DIRECTION_SEND, BPF_CORE_READ(tcp, write_seq), 0);
		return 0;
	}
	error = BPF_CORE_READ(sk, sk_err);
	if (error == ECONNRESET || error == EPIPE || from == TCP_ESTABLISHED ||
	    from == TCP_CLOSE_WAIT)
		conn->flags |= CONN_RESET;
	/*
	 * A reset, or the peer's FIN after our own, closes the socket while the
	 * process has yet to read what came before: it ends when that is read,
	 * or when the process closes it.
	 */
	if (!(BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DEAD) &&
	    BPF_CORE_READ(tcp, copied_seq) != BPF_CORE_READ(tcp, rcv_nxt)) {
		conn->flags |= CONN_CLOSED;
		return 0;
	}
	report_close(sk, conn);
	return 0;
}

/*
 * Run by user space for each connection that is still open when a run ends; the
 * only argument is the socket.
 */
SEC("raw_tp")
int flow_count(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (void *)ctx->args[0];
	__u64 key = (__u64)sk;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);

	if (conn)
		flow_report(sk, conn);
	return 0;
}

/* The end of every socket, also of those that were closed while unread. */
SEC("raw_tp/tcp_destroy_sock")
int sock_destroy(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (void *)ctx->args[0];
	__u64 key = (__u64)sk;
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);

	if (conn)
		report_close(sk, conn);
	return 0;
}
