/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * OpenSSL's interface: what is written before it is encrypted, what is read
 * after it is decrypted. One program for each role, because kernels before
 * 5.15 have no cookies to tell attachments apart.
 */

EMITTER(tls, "uprobe")
EMITTER(tls_multi, "uprobe.multi")

enum tls_cookie {
	COOKIE_WRITE = 1,
	COOKIE_EX = 2,
	COOKIE_FREE = 4,
	/* The pointer to the count is the fifth argument. */
	COOKIE_FIFTH = 8,
	/* 0 is the end of the stream, not a failure. */
	COOKIE_SHARED = 16,
	COOKIE_NEW = 32,
	COOKIE_CIPHERTEXT = 64,
	/* Above: the number of the file, for the record. */
	COOKIE_LIBRARY_SHIFT = 8,
};

/* What a function that reads or writes returns. */
enum tls_result {
	/* The count; 0 is the end of the stream. */
	RESULT_COUNT,
	/* 1 with the count in memory; 0 is any failure. */
	RESULT_EX,
	/* More than 0 with the count in memory; 0 is the end of the stream. */
	RESULT_SHARED,
};

enum bpf_func_id___any {
	BPF_FUNC_get_attach_cookie___any,
};

/* The number of the file, on kernels with cookies (5.15). */
static __always_inline __u64 library_of(void *ctx)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id___any, BPF_FUNC_get_attach_cookie___any))
		return 0;
	return bpf_get_attach_cookie(ctx) >> COOKIE_LIBRARY_SHIFT;
}

/* Drops calls whose return was never seen: the stack has been unwound. */
static __always_inline void tls_unwind(struct tls_thread *thread, __u64 sp)
{
	for (int i = 0; i < TLS_DEPTH; i++) {
		struct tls_call *call = tls_call_of(thread);

		if (!call || call->sp > sp)
			break;
		thread->depth--;
	}
}

static __always_inline int tls_enter(struct pt_regs *ctx, __u32 direction, __u64 count_at)
{
	struct tls_thread *thread;
	struct tls_call *call, *outer;
	__u64 sp = PT_REGS_SP(ctx), object = PT_REGS_PARM1(ctx), depth;
	struct who who;
	__u64 id;

	if (!watch_current(&who))
		return 0;
	id = who.id;
	thread = bpf_map_lookup_elem(&tls_threads, &id);
	if (!thread) {
		struct tls_thread fresh = {};

		bpf_map_update_elem(&tls_threads, &id, &fresh, BPF_NOEXIST);
		thread = bpf_map_lookup_elem(&tls_threads, &id);
		if (!thread) {
			count_lost(LOST_CALLS, 1);
			return 0;
		}
	}
	tls_unwind(thread, sp);
	depth = thread->depth;
	if (depth >= TLS_DEPTH) {
		count_lost(LOST_CALLS, 1);
		return 0;
	}
	outer = tls_call_of(thread);
	call = &thread->calls[depth];
	call->sp = sp;
	call->object = object;
	call->buffer = PT_REGS_PARM2(ctx);
	call->count_at = count_at;
	call->entry_ns = bpf_ktime_get_ns();
	call->length = PT_REGS_PARM3(ctx);
	call->direction = direction;
	call->inner = outer && outer->object == object && outer->direction == direction;
	thread->depth = depth + 1;
	return 0;
}

static __always_inline int tls_exit(struct pt_regs *ctx, enum tls_result result, __u8 library,
				    void *emitters)
{
	__u64 id = bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx), count = 0;
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &id);
	int ret = (int)PT_REGS_RC(ctx);
	struct tls_call *call, done;
	struct tls_conn *tls;
	struct who who;
	struct job job;

	if (!thread || !thread->depth)
		return 0;
	/* After `ret` the stack pointer is 8 above that of the entry. */
	tls_unwind(thread, sp - 9);
	call = tls_call_of(thread);
	if (!call || call->sp + 8 != sp)
		return 0;
	done = *call;
	thread->depth--;
	if (done.inner || !watch_current(&who))
		return 0;
	if (ret > 0) {
		if (result == RESULT_COUNT)
			count = ret;
		else if (bpf_probe_read_user(&count, sizeof(count), (void *)done.count_at) ||
			 !count)
			return 0;
	} else if (ret || result == RESULT_EX || !done.length ||
		   done.direction != DIRECTION_RECEIVE) {
		/* 0 is close_notify, but not of a read of 0 bytes. */
		return 0;
	}
	tls = tls_conn_of(done.object, id >> 32);
	if (!tls)
		return 0;

	__builtin_memset(&job, 0, sizeof(job));
	job.head.direction = done.direction;
	job.head.entry_ns = done.entry_ns;
	job.head.return_ns = bpf_ktime_get_ns();
	job.head.offset = tls->bytes[done.direction & 1];
	record_tls(&job.head, tls, done.object);
	record_who(&job.head, &who);
	job.head.library = library;
	if (!count) {
		/* It returned 0: close_notify. */
		if (tls->bytes[1]) {
			job.head.kind = RECORD_END;
			emit_bare(&job.head);
		}
		return 0;
	}
	tls->bytes[done.direction & 1] += count;
	job.head.kind = RECORD_DATA;
	job.cursor.memory = MEMORY_USER;
	job.cursor.base = done.buffer;
	job.left = count;
	emit(ctx, id, &job, emitters);
	return 0;
}

SEC("uprobe")
int tls_read_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, DIRECTION_RECEIVE, 0);
}

SEC("uprobe")
int tls_read_ex_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, DIRECTION_RECEIVE, PT_REGS_PARM4(ctx));
}

SEC("uprobe")
int tls_write_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, DIRECTION_SEND, 0);
}

SEC("uprobe")
int tls_write_ex_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, DIRECTION_SEND, PT_REGS_PARM4(ctx));
}

SEC("uprobe")
int tls_write_flags_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, DIRECTION_SEND, PT_REGS_PARM5(ctx));
}

SEC("uprobe")
int tls_exit_plain(struct pt_regs *ctx)
{
	return tls_exit(ctx, RESULT_COUNT, library_of(ctx), &tls_emitters);
}

SEC("uprobe")
int tls_exit_ex(struct pt_regs *ctx)
{
	return tls_exit(ctx, RESULT_EX, library_of(ctx), &tls_emitters);
}

SEC("uprobe")
int tls_exit_shared(struct pt_regs *ctx)
{
	return tls_exit(ctx, RESULT_SHARED, library_of(ctx), &tls_emitters);
}

/* The connection that the object stood on may get another. */
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

static __always_inline int tls_forget(struct pt_regs *ctx)
{
	struct record head = {};
	struct tls_conn *tls;
	struct tls_key key;
	struct who who;

	if (!watch_current(&who))
		return 0;
	key.object = PT_REGS_PARM1(ctx);
	key.tgid = who.id >> 32;
	tls = bpf_map_lookup_elem(&tls_conns, &key);
	if (!tls)
		return 0;
	if (tls->bytes[0] || tls->bytes[1]) {
		head.kind = RECORD_CLOSE;
		head.entry_ns = head.return_ns = bpf_ktime_get_ns();
		record_tls(&head, tls, key.object);
		record_who(&head, &who);
		emit_bare(&head);
	}
	tls_vacate(tls);
	bpf_map_delete_elem(&tls_conns, &key);
	return 0;
}

/* An object is made: whatever comes of it will be seen from its beginning. */
static __always_inline int tls_made(struct pt_regs *ctx)
{
	struct tls_conn fresh = { .born = bpf_ktime_get_ns(), .from_start = 1 };
	struct tls_key key;
	struct who who;

	if (!watch_current(&who))
		return 0;
	key.object = PT_REGS_RC(ctx);
	key.tgid = who.id >> 32;
	if (key.object)
		bpf_map_update_elem(&tls_conns, &key, &fresh, BPF_ANY);
	return 0;
}

SEC("uprobe")
int tls_new(struct pt_regs *ctx)
{
	return tls_made(ctx);
}

SEC("uprobe")
int tls_free(struct pt_regs *ctx)
{
	return tls_forget(ctx);
}

/* BIO_write(bio, buffer, length): inside a call of an object, it is its record. */
static __always_inline int tls_ciphertext(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &id);
	__u64 address = PT_REGS_PARM2(ctx), length = PT_REGS_PARM3(ctx);
	struct tls_call *call;

	if (!thread || !thread->depth)
		return 0;
	call = tls_call_of(thread);
	if (call)
		cipher_written(call->object, id >> 32, address, length);
	return 0;
}

/*
 * With uprobe.multi (6.6) all entries of a file are one attachment and all
 * returns another, told apart by cookies: detaching one takes 20 ms.
 */
SEC("uprobe.multi")
int tls_multi_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), count_at = 0;
	__u64 fourth = PT_REGS_PARM4(ctx), fifth = PT_REGS_PARM5(ctx);

	/* Or clang chooses an address in ctx, which the verifier refuses. */
	asm volatile("" : "+r"(fourth), "+r"(fifth));
	if (cookie & COOKIE_FREE)
		return tls_forget(ctx);
	if (cookie & COOKIE_CIPHERTEXT)
		return tls_ciphertext(ctx);
	if (cookie & COOKIE_FIFTH)
		count_at = fifth;
	else if (cookie & COOKIE_EX)
		count_at = fourth;
	return tls_enter(ctx, cookie & COOKIE_WRITE ? DIRECTION_SEND : DIRECTION_RECEIVE,
			 count_at);
}

SEC("uprobe.multi")
int tls_multi_exit(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	enum tls_result result = RESULT_COUNT;

	if (cookie & COOKIE_NEW)
		return tls_made(ctx);
	if (cookie & COOKIE_SHARED)
		result = RESULT_SHARED;
	else if (cookie & COOKIE_EX)
		result = RESULT_EX;
	return tls_exit(ctx, result, library_of(ctx), &tls_multi_emitters);
}
