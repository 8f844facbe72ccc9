/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Copies the bytes of a call into as many records as it takes.
 *
 * Most calls fit one or two records, which their hook writes itself. For
 * longer ones the hook leaves a job and tail-calls an emitter, which calls
 * itself again: 33 tail calls of 32 records of 64 KiB are more than
 * `call_limit`, and more than the 1,024 iovecs of a call. This needs neither bpf_loop (5.17) nor
 * loops that a verifier of 5.10 would have to walk a thousand times in each program.
 */
#ifndef HTTPSNIFF_EMIT_H
#define HTTPSNIFF_EMIT_H

#include "cursor.h"
#include "who.h"

struct job {
	/* What all its records have in common; `offset` moves on. */
	struct record head;
	struct cursor cursor;
	/* Bytes to pass over first: reported already. */
	__u64 skip;
	/* Bytes to report. */
	__u64 left;
	/* Of them, bytes that may still be copied. */
	__u64 quota;
	/* enum record_kind of a record without data behind all, or 0. */
	__u64 then;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct job);
} jobs SEC(".maps");

#define CHUNK_MAX 65536
#define CHUNK_LARGE 16384
#define RECORDS_PER_EMITTER 32

static __always_inline __u64 wakeup_flags(void)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	/* 1 if fewer wait, else 2. */
	return BPF_RB_FORCE_WAKEUP - ((waiting - wakeup_bytes) >> 63);
}

/*
 * To the verifier x may be anything afterwards: what came about in several ways
 * goes on in one, where it would walk all that follows once for each.
 */
#define FORGET(x, unknown)                                                         \
	do {                                                                       \
		__u64 value = (x);                                                 \
                                                                                   \
		asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(value) : "r"(unknown)); \
		(x) = value;                                                       \
	} while (0)

/* A record without payload. */
static __always_inline void emit_bare(const struct record *head)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count_lost(LOST_RECORDS, 1);
		count_lost(LOST_BYTES, head->missing);
		return;
	}
	__builtin_memcpy(record, head, sizeof(*record));
	bpf_ringbuf_submit(record, wakeup_flags());
}

/* Says that what is left of the job is not there. */
static __always_inline void emit_missing(struct job *job, __u8 reason)
{
	job->head.len = 0;
	job->head.missing = job->left;
	job->head.reason = reason;
	emit_bare(&job->head);
	job->left = 0;
}

/* What follows the data of a job. */
static __always_inline void emit_then(struct job *job)
{
	if (!job->then)
		return;
	job->head.kind = job->then;
	job->head.len = 0;
	job->head.missing = 0;
	job->head.reason = 0;
	emit_bare(&job->head);
}

/*
 * The length of a reservation must be a constant, so there is one for each
 * power of four. What is reserved and not used is never touched.
 *
 * Without branches where arithmetic does: the verifier walks each path of each
 * round of the emitters' loop.
 */
#define EMIT_CLASS(size)                                                                    \
	do {                                                                                \
		struct {                                                                    \
			struct record head;                                                 \
			char payload[size];                                                 \
		} *r = bpf_ringbuf_reserve(&events, sizeof(struct record) + (size), 0);     \
		__u64 bound = n, failed;                                                    \
                                                                                            \
		if (!r) {                                                                   \
			count_lost(LOST_RECORDS, 1);                                        \
			count_lost(LOST_BYTES, n);                                          \
			break;                                                              \
		}                                                                           \
		__builtin_memcpy(&r->head, &job->head, sizeof(struct record));              \
		/* Lest the compiler drop the check that the verifier needs. */             \
		asm volatile("" : "+r"(bound));                                             \
		if (bound > (size))                                                         \
			bound = (size);                                                     \
		if (kernel)                                                                 \
			failed = bpf_probe_read_kernel(r->payload, bound, (void *)address); \
		else                                                                        \
			failed = bpf_probe_read_user(r->payload, bound, (void *)address);   \
		/* An error is negative: all ones, or none. */                              \
		failed = (__u64)((__s64)failed >> 63);                                      \
		r->head.len = n & ~failed;                                                  \
		r->head.missing = n & failed;                                               \
		r->head.reason = REASON_UNREADABLE & failed;                                \
		bpf_ringbuf_submit(r, wakeup_flags());                                      \
	} while (0)

/* Emits the next record of the job; false when there is nothing more to do. */
static __always_inline bool emit_one(struct job *job)
{
	struct cursor *cursor = &job->cursor;
	bool kernel = cursor_in_kernel(cursor);
	__u64 available, address, n;

	if (cursor->memory == MEMORY_NONE) {
		emit_missing(job, REASON_NO_BUFFER);
		return false;
	}
	if (cursor->memory >= MEMORY_IOVEC) {
		struct iovec segment = {};

		if (!cursor_segment(cursor, &segment)) {
			emit_missing(job, REASON_UNREADABLE);
			return false;
		}
		if ((__u64)segment.iov_len <= cursor->offset) {
			cursor->base += sizeof(segment);
			cursor->offset = 0;
			cursor->segments--;
			return true;
		}
		available = (__u64)segment.iov_len - cursor->offset;
		address = (__u64)segment.iov_base + cursor->offset;
	} else {
		available = job->skip + job->left;
		address = cursor->base + cursor->offset;
	}
	if (job->skip) {
		n = available < job->skip ? available : job->skip;
		cursor->offset += n;
		job->skip -= n;
		return true;
	}
	if (!job->quota) {
		emit_missing(job, REASON_CALL_LIMIT);
		return false;
	}
	n = available < job->left ? available : job->left;
	if (n > job->quota)
		n = job->quota;
	/* Between two classes: several of the smaller rather than waste. */
	if (n >= CHUNK_MAX)
		n = CHUNK_MAX;
	else if (n > CHUNK_LARGE)
		n = CHUNK_LARGE;
	FORGET(n, address);
	if (n <= 256)
		EMIT_CLASS(256);
	else if (n <= 1024)
		EMIT_CLASS(1024);
	else if (n <= 4096)
		EMIT_CLASS(4096);
	else if (n <= CHUNK_LARGE)
		EMIT_CLASS(CHUNK_LARGE);
	else
		EMIT_CLASS(CHUNK_MAX);
	FORGET(n, address);
	job->head.offset += n;
	cursor->offset += n;
	job->quota -= n;
	job->left -= n;
	if (n == available && cursor->memory >= MEMORY_IOVEC) {
		cursor->base += sizeof(struct iovec);
		cursor->offset = 0;
		cursor->segments--;
	}
	return job->left != 0;
}

/*
 * Emits a job from a hook. `emitters` is the array with the emitter of the
 * hook's program type: programs can tail-call their own type only.
 */
static __always_inline void emit(void *ctx, __u64 id, struct job *job, void *emitters)
{
	job->quota = call_limit;
	if (emit_one(job)) {
		if (!bpf_map_update_elem(&jobs, &id, job, BPF_ANY)) {
			bpf_tail_call(ctx, emitters, 0);
			count_lost(LOST_CALLS, 1);
			count_lost(LOST_BYTES, job->left);
			bpf_map_delete_elem(&jobs, &id);
			return;
		}
		emit_missing(job, REASON_CALL_LIMIT);
	}
	emit_then(job);
}

/*
 * The next record of a thread's job; 0 when there is nothing more to do. A
 * global function is verified once by itself, not again in each round of its
 * caller: that takes milliseconds instead of hundreds. Only numbers can be
 * handed to it before 5.12.
 */
__noinline int emit_next(__u64 id)
{
	struct job *job = bpf_map_lookup_elem(&jobs, &id);

	return job && emit_one(job);
}

static __always_inline int run_emitter(void *ctx, void *emitters)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct job *job;

	for (int i = 0; i < RECORDS_PER_EMITTER; i++) {
		if (!emit_next(id))
			goto done;
	}
	bpf_tail_call(ctx, emitters, 0);
	/* Only here when 33 calls were not enough. */
	job = bpf_map_lookup_elem(&jobs, &id);
	if (job)
		emit_missing(job, REASON_CALL_LIMIT);
done:
	job = bpf_map_lookup_elem(&jobs, &id);
	if (!job)
		return 0;
	emit_then(job);
	bpf_map_delete_elem(&jobs, &id);
	return 0;
}

#define EMITTER(name, section)                             \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);     \
		__uint(max_entries, 1);                    \
		__type(key, __u32);                        \
		__type(value, __u32);                      \
	} name##_emitters SEC(".maps");                    \
                                                           \
	SEC(section)                                       \
	int name##_emitter(void *ctx)                      \
	{                                                  \
		return run_emitter(ctx, &name##_emitters); \
	}

#endif
