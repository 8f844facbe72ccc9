/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where the bytes of a call stand in memory. */
#ifndef HTTPSNIFF_CURSOR_H
#define HTTPSNIFF_CURSOR_H

enum memory {
	/* Pages, pipes: nothing that can be read from here. */
	MEMORY_NONE,
	/* One buffer of the process. */
	MEMORY_USER,
	/* One buffer of the kernel. */
	MEMORY_KERNEL,
	/* Array of iovec in the kernel, buffers of the process. */
	MEMORY_IOVEC,
	/* Array and buffers in the kernel. */
	MEMORY_KVEC,
	/* Array and buffers of the process (arguments of a system call). */
	MEMORY_USER_IOVEC,
	/* The same of NSPR's PRIOVec: its length has 32 bits. */
	MEMORY_USER_PRIOVEC,
};

struct cursor {
	/* The buffer, or the array of iovec from the current one on. */
	__u64 base;
	/* Bytes of the current buffer that are behind us. */
	__u64 offset;
	/* Entries of the array that are left. */
	__u64 segments;
	__u64 memory;
};

/* Reads the segment under the cursor; false if there is none. */
static __always_inline bool cursor_segment(const struct cursor *cursor, struct iovec *segment)
{
	long error;

	if (!cursor->segments)
		return false;
	if (cursor->memory >= MEMORY_USER_IOVEC)
		error = bpf_probe_read_user(segment, sizeof(*segment), (void *)cursor->base);
	else
		error = bpf_probe_read_kernel(segment, sizeof(*segment), (void *)cursor->base);
	if (cursor->memory == MEMORY_USER_PRIOVEC)
		segment->iov_len = (__u32)segment->iov_len;
	return error == 0;
}

static __always_inline bool cursor_in_kernel(const struct cursor *cursor)
{
	return cursor->memory == MEMORY_KERNEL || cursor->memory == MEMORY_KVEC;
}

/* Where in the process the first segment lies; false if it is none of its. */
static __always_inline bool cursor_first(const struct cursor *cursor, __u64 *address,
					 __u64 *length)
{
	struct iovec segment = {};

	*address = cursor->base + cursor->offset;
	*length = ~0ull;
	if (cursor->memory == MEMORY_USER)
		return true;
	if (cursor->memory != MEMORY_IOVEC && cursor->memory != MEMORY_USER_IOVEC)
		return false;
	if (!cursor_segment(cursor, &segment) || (__u64)segment.iov_len < cursor->offset)
		return false;
	*address = (__u64)segment.iov_base + cursor->offset;
	*length = (__u64)segment.iov_len - cursor->offset;
	return true;
}

/* The first bytes under the cursor, of the first segment only. */
static __always_inline bool cursor_peek(const struct cursor *cursor, void *to, __u32 size)
{
	__u64 address = cursor->base + cursor->offset;

	if (cursor->memory == MEMORY_NONE)
		return false;
	if (cursor->memory >= MEMORY_IOVEC) {
		struct iovec segment = {};

		if (!cursor_segment(cursor, &segment) ||
		    (__u64)segment.iov_len < cursor->offset + size)
			return false;
		address = (__u64)segment.iov_base + cursor->offset;
	}
	if (cursor_in_kernel(cursor))
		return bpf_probe_read_kernel(to, size, (void *)address) == 0;
	return bpf_probe_read_user(to, size, (void *)address) == 0;
}

/*
 * The kernel's iterator, of any kernel from 5.10 on. The kinds changed their
 * numbers in 5.14, 6.0, 6.5 and 6.7, `iov` its name in 6.4: all are asked of
 * the running kernel. Kinds not named here (pages, pipes) become MEMORY_NONE.
 */
static __always_inline void cursor_from_iter(struct cursor *cursor, struct iov_iter *iter)
{
	struct iov_iter___mask *mask = (void *)iter;
	struct iov_iter___iov *older = (void *)iter;
	struct iov_iter___ubuf *newer = (void *)iter;
	__u32 type;

	cursor->memory = MEMORY_NONE;
	cursor->offset = BPF_CORE_READ(iter, iov_offset);
	cursor->segments = BPF_CORE_READ(iter, nr_segs);
	if (bpf_core_field_exists(newer->iter_type))
		type = BPF_CORE_READ(newer, iter_type);
	else
		type = BPF_CORE_READ(mask, type) & ~1;

	if (bpf_core_enum_value_exists(enum iter_type___any, ITER_UBUF___any) &&
	    type == bpf_core_enum_value(enum iter_type___any, ITER_UBUF___any)) {
		cursor->memory = MEMORY_USER;
		cursor->base = (__u64)BPF_CORE_READ(newer, ubuf);
		return;
	}
	if (type == bpf_core_enum_value(enum iter_type___any, ITER_IOVEC___any))
		cursor->memory = MEMORY_IOVEC;
	else if (type == bpf_core_enum_value(enum iter_type___any, ITER_KVEC___any))
		cursor->memory = MEMORY_KVEC;
	else
		return;
	if (bpf_core_field_exists(newer->__iov))
		cursor->base = (__u64)BPF_CORE_READ(newer, __iov);
	else if (bpf_core_field_exists(older->iter_type))
		cursor->base = (__u64)BPF_CORE_READ(older, iov);
	else
		cursor->base = (__u64)BPF_CORE_READ(mask, iov);
}

#endif
