/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TLS libraries: what is written before it is encrypted, what is read after it
 * is decrypted. One pair of programs serves all functions of all libraries:
 * what they differ in is in the cookie of the place that is attached to.
 */

EMITTER(tls, "uprobe")
EMITTER(tls_multi, "uprobe.multi")

/* After the emitters, by which `tls_offset` knows the kind of probe. */
#include "include/site.h"
#include "include/object.h"
#include "include/golang.h"

#define PR_MSG_PEEK 2
#define PR_DESC_LAYERED 4
#define MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY -0x7880
#define SSL_EARLY_DATA_REJECTED 1

/* BIO_write(bio, buffer, length): in a call of an object these are its records. */
static __always_inline int tls_ciphertext(__u64 sp, __u64 address, __u64 length)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct thread_key key = { .tgid = id >> 32, .task = (__u32)id };
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &key);
	struct tls_call *call;

	if (!thread || !thread->depth)
		return 0;
	call = tls_call_of(thread);
	if (call && is_above(call, sp))
		cipher_written(call->object, key.tgid, address, length);
	return 0;
}

/*
 * Whether something has been put upon the descriptor, as TLS is. NSPR's
 * PRFileDesc begins with a pointer to its PRIOMethods, these with their type:
 * files, pipes and plain sockets have others.
 */
static __always_inline bool nspr_is_layered(__u64 descriptor)
{
	__u64 methods = 0;
	__u32 type = 0;

	return !bpf_probe_read_user(&methods, sizeof(methods), (void *)descriptor) &&
	       !bpf_probe_read_user(&type, sizeof(type), (void *)methods) &&
	       type == PR_DESC_LAYERED;
}

/* A function begins. */
static __always_inline int tls_enter(struct pt_regs *ctx, __u64 cookie, void *emitters)
{
	__u64 object = PT_REGS_PARM1(ctx), buffer = PT_REGS_PARM2(ctx);
	__u64 length = PT_REGS_PARM3(ctx), go_object = ctx->ax, go_buffer = ctx->bx;
	__u64 fourth = PT_REGS_PARM4(ctx), fifth = PT_REGS_PARM5(ctx), count_at = 0, depth;
	__u32 direction = cookie & COOKIE_WRITE ? DIRECTION_SEND : DIRECTION_RECEIVE;
	struct tls_site site = { .cookie = cookie };
	struct tls_call *call, *outer;
	struct tls_thread *thread;
	struct who who;
	__u32 flags = 0;
	bool again = false;

	/* Or clang chooses an address in ctx, which the verifier refuses. */
	asm volatile("" : "+r"(fourth), "+r"(fifth));
	asm volatile("" : "+r"(object), "+r"(buffer), "+r"(length));
	asm volatile("" : "+r"(go_object), "+r"(go_buffer));
	if (cookie & COOKIE_CIPHERTEXT)
		return tls_ciphertext(PT_REGS_SP(ctx), buffer, length);
	if (!tls_site(ctx, &site, &who))
		return 0;
	if (cookie & COOKIE_GO) {
		/* RAX, RBX, RCX: the last is C's fourth argument. */
		object = go_object;
		buffer = go_buffer;
		length = fourth;
	}
	if (cookie & COOKIE_UNSURE && !nspr_is_layered(object))
		return 0;
	if (cookie & COOKIE_FREE && cookie & COOKIE_GO)
		return go_close(&who, object, cookie >> COOKIE_SOURCE_SHIFT);
	if (cookie & (COOKIE_FREE | COOKIE_NEW) && !(cookie & COOKIE_NO_DATA)) {
		tls_forget(&who, object, cookie >> COOKIE_SOURCE_SHIFT);
		return cookie & COOKIE_NEW ? tls_made(&who, object) : 0;
	}
	if (cookie & COOKIE_GO && cookie & COOKIE_NO_DATA)
		go_begun(&who, object, cookie >> COOKIE_SOURCE_SHIFT);
	if (cookie & COOKIE_FIFTH)
		count_at = fifth;
	else if (cookie & COOKIE_EX)
		count_at = fourth;
	if (cookie & COOKIE_NO_DATA || (cookie & COOKIE_PEEK_FLAG && fourth & PR_MSG_PEEK))
		direction = DIRECTION_NONE;

	thread = tls_thread_of(&site.key);
	if (cookie & COOKIE_GO)
		thread = tls_thread_of_go(&site.key);
	if (!thread) {
		count_lost(LOST_CALLS, 1);
		return 0;
	}
	/* A function of Go begins anew when its stack has grown. */
	call = tls_call_of(thread);
	if (cookie & COOKIE_GO && call && call->sp == site.sp && call->object == object &&
	    call->direction == direction) {
		again = true;
		flags = call->flags & CALL_REPORTED;
	}
	tls_unwind(thread, site.sp);
	depth = thread->depth;
	if (depth >= TLS_DEPTH) {
		count_lost(LOST_CALLS, 1);
		return 0;
	}
	outer = tls_call_of(thread);
	call = &thread->calls[depth];
	call->sp = site.sp;
	call->object = object;
	call->buffer = buffer;
	call->count_at = count_at;
	call->entry_ns = bpf_ktime_get_ns();
	call->length = length;
	call->direction = direction;
	/* Without branches: with each, the verifier would walk the rest twice. */
	flags |= (cookie / COOKIE_UNSURE & 1) * CALL_UNSURE;
	flags |= (cookie / COOKIE_NO_BUFFER & 1) * CALL_NO_BUFFER;
	flags |= (cookie / COOKIE_VECTOR & 1) * CALL_VECTOR;
	if (outer && outer->object == object && outer->direction == direction)
		flags |= CALL_INNER;
	/* What was asked for is not in the third argument. */
	if (cookie & COOKIE_NO_BUFFER)
		call->length = 1;
	if (cookie & COOKIE_GO && buffer - site.stack[0] < site.stack[1] - site.stack[0]) {
		flags |= CALL_ON_STACK;
		call->buffer -= site.stack[1];
	}
	call->flags = flags;
	thread->depth = depth + 1;
	if (go_counts(call, cookie) && !again) {
		struct tls_conn *tls = tls_conn_of(object, site.key.tgid);

		if (!tls) {
			/* It is not counted, and must not be when it ends. */
			call->flags |= CALL_LATE;
			return 0;
		}
		__sync_fetch_and_add(&tls->calls, 1);
		if (direction == DIRECTION_SEND && length)
			go_write(ctx, call, tls, &who, cookie, &site, emitters);
	}
	return 0;
}

/* How many bytes a call has transferred: < 0 failed, 0 end of the stream. */
static __always_inline __s64 tls_count(const struct tls_call *call, __u64 cookie, __u64 result,
				       __u64 error)
{
	__u8 source = cookie >> COOKIE_SOURCE_SHIFT;
	__s64 ret = (int)result;
	__u64 count = 0;

	if (cookie & COOKIE_GO) {
		if (result || call->direction != DIRECTION_RECEIVE)
			return result && result <= call->length ? (__s64)result : -1;
		return go_eof(error) ? 0 : -1;
	}

	if (source == SOURCE_GNUTLS)
		ret = result;
	else if (source == SOURCE_MBEDTLS && ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		ret = 0;
	if (ret > 0 && cookie & (COOKIE_EX | COOKIE_FIFTH | COOKIE_SHARED)) {
		if (bpf_probe_read_user(&count, sizeof(count), (void *)call->count_at) || !count)
			return -1;
		return count & 0x7fffffffffffffff;
	}
	if (ret > 0)
		return ret;
	/* 0 is close_notify, but not of a read of 0 bytes. */
	if (ret || (cookie & COOKIE_EX && !(cookie & COOKIE_SHARED)) || !call->length ||
	    call->direction != DIRECTION_RECEIVE)
		return -1;
	return 0;
}

/* A function ends. */
static __always_inline int tls_exit(struct pt_regs *ctx, __u64 cookie, void *emitters)
{
	__u64 result = PT_REGS_RC(ctx), error = ctx->cx;
	struct tls_site site = { .cookie = cookie };
	struct tls_thread *thread;
	struct tls_call *call, done;
	struct tls_conn *tls;
	__u64 ended = 0;
	struct who who;
	struct job job;
	__s64 count;

	if (!tls_site(ctx, &site, &who))
		return 0;
	if (cookie & COOKIE_NEW && !(cookie & COOKIE_NO_DATA))
		return tls_made(&who, result);
	if (cookie & COOKIE_GO)
		thread = tls_thread_of_go(&site.key);
	else
		thread = bpf_map_lookup_elem(&tls_threads, &site.key);
	call = NULL;
	if (thread) {
		tls_unwind(thread, site.sp - 1);
		call = tls_call_of(thread);
	}
	if (call && call->sp == site.sp) {
		done = *call;
		thread->depth--;
	} else if (!go_late(ctx, cookie, &done)) {
		return 0;
	}
	if (cookie & COOKIE_NEW && !(int)result) {
		__u64 object = 0;

		bpf_probe_read_user(&object, sizeof(object), (void *)done.object);
		return tls_made(&who, object);
	}
	if (cookie & COOKIE_GO && done.direction == DIRECTION_NONE && !result) {
		/* It returns an error, or none. */
		tls = tls_conn_known(done.object, site.key.tgid);
		if (tls)
			tls->ready = 1;
	}
	if (done.direction == DIRECTION_NONE && cookie & COOKIE_EARLY &&
	    (int)result == SSL_EARLY_DATA_REJECTED)
		return tls_rejected(&who, done.object, cookie >> COOKIE_SOURCE_SHIFT);
	if (done.flags & CALL_INNER || done.direction == DIRECTION_NONE || cookie & COOKIE_NO_DATA)
		return 0;
	count = tls_count(&done, cookie, result, error);
	/* More than there was room for: this is not the function that it seems. */
	if (count > 0 && done.length && (__u64)count > done.length &&
	    !(done.flags & (CALL_NO_BUFFER | CALL_VECTOR))) {
		count_lost(LOST_CALLS, 1);
		return 0;
	}
	/* At the end of the stream perhaps after the object's. */
	if (go_counts(&done, cookie) || done.flags & CALL_UNSURE || !count)
		tls = tls_conn_known(done.object, site.key.tgid);
	else if (count > 0)
		tls = tls_conn_of(done.object, site.key.tgid);
	else
		return 0;
	if (!tls) {
		/* Of an object that has been forgotten, or found no room. */
		if (count > 0 && !(done.flags & (CALL_UNSURE | CALL_REPORTED))) {
			count_lost(LOST_CALLS, 1);
			count_lost(LOST_BYTES, count);
		}
		return 0;
	}
	if (done.flags & CALL_UNSURE && !(tls->socket || tls->from_start))
		return 0;
	if (go_counts(&done, cookie)) {
		__sync_fetch_and_add(&tls->calls, -1);
		ended = tls->closing && !tls->calls;
	}
	FORGET(ended, who.id);
	if (done.flags & CALL_REPORTED)
		count = -1;
	if (count < 0 && !ended)
		return 0;
	if (count > 0 && thread && (thread->depth || last_cipher))
		tls_in_tls(&who, tls_call_of(thread), &done, tls, count);

	__builtin_memset(&job, 0, sizeof(job));
	job.head.direction = done.direction;
	job.head.entry_ns = done.entry_ns;
	job.head.return_ns = bpf_ktime_get_ns();
	record_tls(&job.head, tls, done.object, cookie >> COOKIE_SOURCE_SHIFT);
	record_who(&job.head, &who);
	job.head.library = cookie >> COOKIE_LIBRARY_SHIFT;
	job.head.offset = tls_offset(tls, done.direction, count > 0 ? count : 0, emitters);
	if (cookie & COOKIE_EARLY && count > 0)
		tls->early = tls->bytes[0];
	if (ended) {
		bool seen = tls->bytes[0] || tls->bytes[1];
		struct tls_key key = { .object = done.object, .tgid = site.key.tgid };

		/* Another one that returns now may have done it. */
		if (!bpf_map_delete_elem(&tls_conns, &key) && seen)
			job.then = RECORD_CLOSE;
	} else if (!count ? tls->bytes[1] != 0 : cookie & COOKIE_GO && go_eof(error)) {
		job.then = RECORD_END;
	}
	if (count <= 0) {
		emit_then(&job);
		return 0;
	}
	job.head.kind = RECORD_DATA;
	job.cursor.memory = MEMORY_USER;
	/* GnuTLS: NULL and 0 for “what was given before”, which may be gone. */
	if (done.flags & CALL_NO_BUFFER || !done.length) {
		job.cursor.memory = MEMORY_NONE;
	} else if (done.flags & CALL_VECTOR) {
		job.cursor.memory = MEMORY_USER_PRIOVEC;
		job.cursor.segments = (__u32)done.length;
	}
	job.cursor.base = done.buffer;
	if (done.flags & CALL_ON_STACK)
		job.cursor.base += site.stack[1];
	job.left = count;
	FORGET(job.left, who.id);
	FORGET(job.then, who.id);
	emit(ctx, who.id, &job, emitters);
	return 0;
}

/* What this place is; see `fixed_cookie`. */
static __always_inline __u64 cookie_of(void *ctx)
{
	if (fixed_cookie ||
	    !bpf_core_enum_value_exists(enum bpf_func_id___any, BPF_FUNC_get_attach_cookie___any))
		return fixed_cookie;
	return bpf_get_attach_cookie(ctx);
}

SEC("uprobe")
int tls_single_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, cookie_of(ctx), &tls_emitters);
}

SEC("uprobe")
int tls_single_exit(struct pt_regs *ctx)
{
	return tls_exit(ctx, cookie_of(ctx), &tls_emitters);
}

/*
 * With uprobe.multi (6.6) all entries of a file are one attachment and all
 * returns another: detaching one takes 20 ms.
 */
SEC("uprobe.multi")
int tls_multi_enter(struct pt_regs *ctx)
{
	return tls_enter(ctx, bpf_get_attach_cookie(ctx), &tls_multi_emitters);
}

SEC("uprobe.multi")
int tls_multi_exit(struct pt_regs *ctx)
{
	return tls_exit(ctx, bpf_get_attach_cookie(ctx), &tls_multi_emitters);
}
