/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a place in a TLS library means that a probe sits at, by the cookie of its
 * attachment, and who has reached it.
 *
 * Included by tls.bpf.c, whose part it is.
 */
#ifndef HTTPSNIFF_SITE_H
#define HTTPSNIFF_SITE_H

enum tls_cookie {
	COOKIE_WRITE = 1,
	/* The count is in memory; the pointer to it is the fourth argument, */
	COOKIE_EX = 2,
	/* or the fifth. */
	COOKIE_FIFTH = 4,
	/* 0 is the end of the stream, not a failure. */
	COOKIE_SHARED = 8,
	/* The object (first argument) is freed. */
	COOKIE_FREE = 16,
	/*
	 * The object has been made: the result. At an entry it is made anew: the
	 * first argument. With COOKIE_NO_DATA the first argument points at it.
	 */
	COOKIE_NEW = 32,
	/* Arguments and results are where Go's compiler puts them. */
	COOKIE_GO = 64,
	/*
	 * No application data: a handshake. At an exit only: the bytes have been
	 * reported by an earlier call.
	 */
	COOKIE_NO_DATA = 128,
	/* The bytes are in no buffer of the process: sendfile. */
	COOKIE_NO_BUFFER = 256,
	/*
	 * The object is a descriptor of NSPR. It may be no TLS object: its socket
	 * will tell.
	 */
	COOKIE_UNSURE = 512,
	/* The fourth argument holds flags; with PR_MSG_PEEK it is no traffic. */
	COOKIE_PEEK_FLAG = 1024,
	/* Go: the arguments are behind the return address when it returns. */
	COOKIE_KEPT = 2048,
	/* The buffer is an array of NSPR's PRIOVec, the length their number. */
	COOKIE_VECTOR = 4096,
	/* Early data is written; with no data: was it accepted? */
	COOKIE_EARLY = 8192,
	/* Bytes are written to a BIO (second and third argument). */
	COOKIE_CIPHERTEXT = 16384,

	/*
	 * Bytes / 8, signed, by which the stack pointer is below what it is at the
	 * first instruction of the function; after `ret` it is one above.
	 */
	COOKIE_STACK_SHIFT = 16,
	/* enum record_source. */
	COOKIE_SOURCE_SHIFT = 32,
	/* The number of the file, for the record. */
	COOKIE_LIBRARY_SHIFT = 40,
};

/*
 * Adds and gives back what was there before. In bytes, because clang leaves it
 * out below -mcpu=v3: lock *(u64 *)(r1 + 0) += r2, BPF_FETCH.
 */
static __always_inline __u64 fetch_and_add(__u64 *value, __u64 n)
{
	register __u64 *address asm("r1") = value;
	register __u64 number asm("r2") = n;

	asm volatile(".8byte 0x00000001000021db" : "+r"(number) : "r"(address) : "memory");
	return number;
}

/* What is known of a place that was reached. */
struct tls_site {
	__u64 cookie;
	/* Whose calls these are. */
	struct thread_key key;
	/*
	 * The stack pointer at the function's first instruction. Goroutines
	 * have stacks that move: from its upper end, which no growth changes.
	 */
	__u64 sp;
	/* Lower and upper end of a goroutine's stack. */
	__u64 stack[2];
};

/* Who is here; false if it is not to be watched. */
static __always_inline bool tls_site(struct pt_regs *ctx, struct tls_site *site, struct who *who)
{
	__s64 below = (__s16)(site->cookie >> COOKIE_STACK_SHIFT);
	__u64 g = ctx->r14;

	if (!watch_current(who))
		return false;
	site->key.tgid = who->id >> 32;
	site->key.task = (__u32)who->id;
	site->sp = PT_REGS_SP(ctx) + below * 8;
	if (site->cookie & COOKIE_GO) {
		/* runtime.g begins with its stack's lower and upper end. */
		if (bpf_probe_read_user(site->stack, sizeof(site->stack), (void *)g))
			return false;
		site->key.task = g;
		site->sp -= site->stack[1];
	}
	return true;
}

/*
 * The offset of bytes that are transferred now; those after them come later.
 * Two goroutines may be here at once. uprobe.multi is newer (6.6) than atomics
 * that give back what was there (5.12), so there no two get the same; with
 * other uprobes nothing but these two instructions is between them.
 */
static __always_inline __u64 tls_offset(struct tls_conn *tls, __u32 direction, __u64 count,
					const void *emitters)
{
	__u64 *bytes = &tls->bytes[direction & 1], before;

	if (emitters == &tls_multi_emitters)
		return fetch_and_add(bytes, count);
	before = *bytes;
	__sync_fetch_and_add(bytes, count);
	return before;
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

static __always_inline struct tls_thread *tls_thread_of(const struct thread_key *key)
{
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, key);

	if (!thread) {
		struct tls_thread fresh = {};

		bpf_map_update_elem(&tls_threads, key, &fresh, BPF_NOEXIST);
		thread = bpf_map_lookup_elem(&tls_threads, key);
	}
	return thread;
}

#endif
