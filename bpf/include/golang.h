/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is different in Go: errors are values, a connection is used by several
 * goroutines at once, and a call may be seen to end whose beginning was not seen.
 *
 * Included by tls.bpf.c, whose part it is.
 */
#ifndef HTTPSNIFF_GOLANG_H
#define HTTPSNIFF_GOLANG_H

/*
 * Go's handshake of a connection begins. That of one that has transferred data
 * is another one at the same address, whose Close was not called, or a
 * renegotiation: only if its socket is there still, which will then tell.
 */
static __always_inline void go_begun(const struct who *who, __u64 object, __u8 source)
{
	struct tls_conn *tls = tls_conn_known(object, who->id >> 32);

	if (!tls) {
		tls_made(who, object);
		return;
	}
	if (tls->bytes[0] || tls->bytes[1]) {
		if (tls->socket && socket_is_there(tls))
			return;
		tls_closed(who, tls, object, source);
		tls->bytes[0] = 0;
		tls->bytes[1] = 0;
	}
	/* Reads and writes may be waiting for the handshake: counted. */
	tls->born = bpf_ktime_get_ns();
	tls->from_start = 1;
	tls->socket = 0;
	tls->closing = 0;
	tls->ready = 0;
}

/* Whether a call of a Go program counts for the end of its object. */
static __always_inline bool go_counts(const struct tls_call *call, __u64 cookie)
{
	return cookie & COOKIE_GO && call->direction != DIRECTION_NONE &&
	       !(call->flags & (CALL_INNER | CALL_LATE));
}

/*
 * Close has been called, perhaps while other goroutines read and write. The one
 * of them that returns last is the end of the object.
 */
static __always_inline int go_close(const struct who *who, __u64 object, __u8 source)
{
	struct tls_conn *tls = tls_conn_known(object, who->id >> 32);

	if (!tls)
		return 0;
	/* Before the count is looked at: there it is the other way round. */
	__sync_fetch_and_add(&tls->closing, 1);
	if (!tls->calls)
		tls_forget(who, object, source);
	return 0;
}

/* Whether the error that a Go function returns, in RBX and RCX, is io.EOF. */
static __always_inline bool go_eof(__u64 error)
{
	/* errors.errorString, a string: its address and length. */
	struct {
		__u64 text;
		__u64 length;
	} string;
	char text[3];

	return !bpf_probe_read_user(&string, sizeof(string), (void *)error) &&
	       string.length == sizeof(text) &&
	       !bpf_probe_read_user(text, sizeof(text), (void *)string.text) && text[0] == 'E' &&
	       text[1] == 'O' && text[2] == 'F';
}

/*
 * What a goroutine writes is reported when the call begins: another one may
 * have read the answer before this one gets to run its last instruction. Only
 * when the handshake is done, without which nothing is sent, and the socket
 * known, which this call may be the first to tell.
 */
static __always_inline void go_write(struct pt_regs *ctx, struct tls_call *call,
				     struct tls_conn *tls, const struct who *who, __u64 cookie,
				     const struct tls_site *site, void *emitters)
{
	struct job job;

	if (!tls->socket || (!tls->ready && !tls->bytes[0] && !tls->bytes[1]))
		return;
	call->flags |= CALL_REPORTED;
	__builtin_memset(&job, 0, sizeof(job));
	job.head.kind = RECORD_DATA;
	job.head.direction = DIRECTION_SEND;
	job.head.entry_ns = job.head.return_ns = call->entry_ns;
	record_tls(&job.head, tls, call->object, cookie >> COOKIE_SOURCE_SHIFT);
	record_who(&job.head, who);
	job.head.library = cookie >> COOKIE_LIBRARY_SHIFT;
	/* Last: others may be about to do the same. */
	job.head.offset = tls_offset(tls, DIRECTION_SEND, call->length, emitters);
	job.cursor.memory = MEMORY_USER;
	job.cursor.base = call->buffer;
	if (call->flags & CALL_ON_STACK)
		job.cursor.base += site->stack[1];
	job.left = call->length;
	emit(ctx, who->id, &job, emitters);
}

/*
 * A function of Go ends whose beginning was not seen: on a connection that was
 * idle when it was attached to, a goroutine was waiting in Read. It is made up
 * from the arguments; false if they are not to be trusted.
 */
static __always_inline bool go_late(struct pt_regs *ctx, __u64 cookie, struct tls_call *call)
{
	__u64 arguments[3], result = PT_REGS_RC(ctx);

	if (!(cookie & COOKIE_KEPT) ||
	    bpf_probe_read_user(arguments, sizeof(arguments), (void *)(PT_REGS_SP(ctx) + 8)))
		return false;
	__builtin_memset(call, 0, sizeof(*call));
	call->object = arguments[0];
	call->buffer = arguments[1];
	call->length = arguments[2];
	call->entry_ns = bpf_ktime_get_ns();
	call->direction = DIRECTION_RECEIVE;
	call->flags = CALL_LATE;
	return result && result <= call->length;
}

#endif
