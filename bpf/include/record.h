/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What goes through the ring buffer: one header, then `len` bytes of payload.
 * The Rust side uses the types that are generated from these.
 */
#ifndef HTTPSNIFF_RECORD_H
#define HTTPSNIFF_RECORD_H

enum record_kind {
	/* Payload: bytes of a stream. `missing` more were transferred. */
	RECORD_DATA = 1,
	/* No more bytes in this direction. */
	RECORD_END = 2,
	/* The connection is gone. */
	RECORD_CLOSE = 3,
	/* Payload: the arguments, each ended by a NUL. */
	RECORD_EXEC = 4,
	/*
	 * Payload: the names of the executable's path from the last to the
	 * first, each ended by a NUL; before RECORD_EXEC.
	 */
	RECORD_EXE = 5,
	/* A process `pid` was born of process `tid`. */
	RECORD_FORK = 6,
	/* The last thread of a process is gone. */
	RECORD_EXIT = 7,
	/*
	 * Payload: the path of a cgroup that was made, or that is gone; its id
	 * is `object`, its hierarchy `born`. FLAG_WATCHED: it is watched already,
	 * or was.
	 */
	RECORD_CGROUP = 8,
	RECORD_CGROUP_GONE = 9,
	/* The socket of a TLS object has become known after data of it. */
	RECORD_BOUND = 10,
};

enum record_direction {
	DIRECTION_SEND = 0,
	DIRECTION_RECEIVE = 1,
};

enum record_source {
	SOURCE_TCP = 1,
	SOURCE_OPENSSL = 2,
	SOURCE_GNUTLS = 3,
	SOURCE_NSS = 4,
	SOURCE_GO = 5,
	SOURCE_RUSTLS = 6,
	SOURCE_WOLFSSL = 7,
	SOURCE_MBEDTLS = 8,
};

enum record_reason {
	REASON_NONE = 0,
	REASON_CALL_LIMIT = 1,
	REASON_UNREADABLE = 2,
	REASON_NO_BUFFER = 3,
};

enum record_flag {
	/* The connection was seen from its beginning. */
	FLAG_FROM_START = 1,
	/* RECORD_CLOSE: by a reset. */
	FLAG_RESET = 2,
	/* RECORD_EXEC: more arguments than are kept. */
	FLAG_CUT = 4,
	/* `entry_ns` is a guess: the end of the call. */
	FLAG_NO_ENTRY = 8,
	/* RECORD_CGROUP. */
	FLAG_WATCHED = 16,
	/* RECORD_END: TLS was on the socket, and `offset` counts ciphertext. */
	FLAG_BOUND = 64,
};

struct record {
	/* CLOCK_MONOTONIC, nanoseconds: entry and return of the call. */
	__u64 entry_ns;
	__u64 return_ns;
	/* Address of the kernel's socket or of the library's TLS object. */
	__u64 object;
	/* When the object was first seen. */
	__u64 born;
	/*
	 * Of the first byte. TCP: the kernel's sequence number (32 bits), TLS:
	 * bytes since the object was first seen.
	 */
	__u64 offset;
	/* TLS: the socket below it, 0 when unknown. */
	__u64 socket;
	__u64 socket_born;
	/* RECORD_EXEC, _FORK: when the process started, since boot. */
	__u64 start_ns;
	/* In the user's pid namespace. */
	__u32 pid;
	__u32 tid;
	/* Real user id in the initial user namespace. */
	__u32 uid;
	/* Inode number of the network namespace. */
	__u32 netns;
	/* Bytes of payload. */
	__u32 len;
	/* Bytes transferred after them that are not in it. */
	__u32 missing;
	/* AF_INET, AF_INET6; 0: no addresses. */
	__u16 family;
	/* In host byte order. */
	__u16 local_port;
	__u16 peer_port;
	__u8 kind;
	__u8 direction;
	__u8 source;
	__u8 reason;
	__u8 flags;
	/* TLS: number of the file that was attached to, from 1; 0: not known. */
	__u8 library;
	__u8 local[16];
	__u8 peer[16];
	/* Name of the thread. */
	char thread[16];
};

/* Counted per CPU. */
enum lost_counter {
	/* Records that found no room, and the bytes in them. */
	LOST_RECORDS = 0,
	LOST_BYTES = 1,
	/* Calls that could not be followed: a table was full. */
	LOST_CALLS = 2,
	LOST_COUNTERS = 3,
};

#endif
