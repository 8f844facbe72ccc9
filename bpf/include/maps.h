/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs share: settings, the ring buffer, and what is remembered
 * between two hooks.
 */
#ifndef HTTPSNIFF_MAPS_H
#define HTTPSNIFF_MAPS_H

#include "record.h"

/* Set before loading. */
const volatile __u32 own_pid = 0;
const volatile bool filter_pids = false;
const volatile bool filter_uids = false;
const volatile bool filter_cgroups = false;
/* Where watched cgroups are: in the hierarchy of version 2, in that of the
 * controller `cgroup_v1` (enum cgroup_subsys_id; -1: in none), or in both.
 */
const volatile bool cgroup_v2 = false;
const volatile __s32 cgroup_v1 = -1;
const volatile __u32 cgroup_v1_hierarchy = 0;
/* Emit what plaintext sockets carry; without, they only name TLS's peers. */
const volatile bool want_tcp = true;
const volatile bool want_tls = true;
/* Show connections whose TLS is not read. */
const volatile bool want_flows = false;
/* Bytes copied of one call; the rest is a record without data. */
const volatile __u64 call_limit = 64 << 20;
/* The user's pid namespace; 0: the initial one. */
const volatile __u64 pidns_dev = 0;
const volatile __u64 pidns_ino = 0;
/* Index of tcp_recvmsg's flags argument: 4 before 5.19, then 3. */
const volatile __u32 recvmsg_flags_arg = 3;
/*
 * What the TLS programs are told of the place they are attached to, on kernels
 * without cookies (before 5.15): there the object is loaded once for each.
 */
const volatile __u64 fixed_cookie = 0;
/* Wake the reader when so many bytes wait; below it looks every few ms. */
const volatile __u64 wakeup_bytes = 1 << 20;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

enum watch {
	WATCH_ONE = 1,
	WATCH_TREE = 2,
};

/* Processes to watch: pid in the user's namespace to enum watch. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} watched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u8);
} watched_uids SEC(".maps");

enum cgroup_watch {
	/* Selected by the user. */
	CGROUP_SELECTED = 1,
	/* Within a selected one. */
	CGROUP_INSIDE = 2,
};

struct cgroup_key {
	/* Unique in its hierarchy. */
	__u64 id;
	/* 0: version 2. */
	__u64 hierarchy;
};

/*
 * Cgroups to watch, each with all that are within it: then an event costs one
 * look-up, however deep its process sits. Value: enum cgroup_watch.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_key);
	__type(value, __u32);
} watched_cgroups SEC(".maps");

#define CGROUP_NAME_MAX 112

struct cgroup_place {
	/* The cgroup that it is made in. */
	struct cgroup_key parent;
	/* Filled up with zeros. */
	char name[CGROUP_NAME_MAX];
};

/*
 * Cgroups to be watched as soon as they are made: those of units and
 * containers that are started again. Value: unused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct cgroup_place);
	__type(value, __u32);
} awaited_cgroups SEC(".maps");

enum conn_flag {
	/* Seen from the first byte. */
	CONN_FROM_START = 1,
	/* A record of it has been emitted: its end is of interest. */
	CONN_SEEN = 2,
	/* It carries TLS from its first byte. */
	CONN_TLS = 4,
	/* Its first byte has been looked at. */
	CONN_CLASSIFIED = 8,
	/* A hooked TLS object reads and writes it. */
	CONN_BOUND = 16,
	/* The kernel has closed it, the process has not read all of it. */
	CONN_CLOSED = 32,
	/* That was by a reset. */
	CONN_RESET = 64,
	/* The TLS object of it has been freed: another may come. */
	CONN_VACANT = 128,
	/* Its hellos are wanted and may not have come yet. */
	CONN_HELLO = 256,
	/* It is in `flows`, or was. */
	CONN_COUNTED = 512,
};

/* A TCP connection, by address of its struct sock. */
struct conn {
	__u64 born;
	__u32 netns;
	__u32 flags;
	__u16 family;
	__u16 local_port;
	__u16 peer_port;
	__u16 pad;
	/* The process whose TLS object it is bound to. */
	__u32 tgid;
	__u32 pad2;
	__u8 local[16];
	__u8 peer[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct conn);
} conns SEC(".maps");

struct socket_key {
	__u64 object;
	__u64 born;
};

/* Connections that user space has found to be of no interest. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct socket_key);
	__type(value, __u8);
} muted SEC(".maps");

struct tls_key {
	__u64 object;
	__u64 tgid;
};

/* A TLS object of a process. */
struct tls_conn {
	__u64 born;
	/* Bytes written and read so far. */
	__u64 bytes[2];
	/* Of the bytes written, those that were early data, if it was all. */
	__u64 early;
	/* Its making was seen. */
	__u64 from_start;
	/*
	 * Go: calls that transfer data and have not returned, and whether Close
	 * has been called: the last of them is the object's end.
	 */
	__u64 calls;
	__u64 closing;
	/* Go: the handshake was seen to end well. */
	__u64 ready;
	/* The socket below it, 0 when unknown, and its facts. */
	__u64 socket;
	struct conn conn;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_key);
	__type(value, struct tls_conn);
} tls_conns SEC(".maps");

#define TLS_DEPTH 4

enum tls_call_flag {
	/* The same object's outer call reports the bytes. */
	CALL_INNER = 1,
	/* Whether the object is TLS at all is only known by its socket. */
	CALL_UNSURE = 2,
	/* Bytes are transferred that are in no buffer of the process. */
	CALL_NO_BUFFER = 4,
	/* The buffer is on the goroutine's stack: its distance from the end. */
	CALL_ON_STACK = 8,
	/* The bytes have been reported when it began. */
	CALL_REPORTED = 16,
	/* Its beginning was not seen. */
	CALL_LATE = 32,
	/* The buffer is an array of PRIOVec. */
	CALL_VECTOR = 64,
};

/* A call that transfers no application data: a handshake, a peek. */
#define DIRECTION_NONE 2

/* One call into a TLS library that has not returned. */
struct tls_call {
	/* The stack pointer at its first instruction; see `struct tls_site`. */
	__u64 sp;
	__u64 object;
	__u64 buffer;
	/* Where the _ex functions put the number of bytes. */
	__u64 count_at;
	/* Bytes asked for. */
	__u64 length;
	__u64 entry_ns;
	/* enum record_direction or DIRECTION_NONE. */
	__u32 direction;
	/* enum tls_call_flag. */
	__u32 flags;
};

/* Calls nest: TLS in TLS, or one function of the library in another. */
struct tls_thread {
	__u64 depth;
	/*
	 * Of a goroutine: the memory that its g is in. Another program that is
	 * executed, or gets the process's id, has its first ones at the same
	 * addresses, and no hook sees a goroutine's end.
	 */
	__u64 mm;
	struct tls_call calls[TLS_DEPTH];
};

/* What runs through calls one after another. */
struct thread_key {
	__u64 tgid;
	/* The thread's id; in Go, where goroutines change threads, the g. */
	__u64 task;
};

/* Least recently used: a goroutine's end is not seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct thread_key);
	__type(value, struct tls_thread);
} tls_threads SEC(".maps");

/* A Go program has been attached to: a socket call may be a goroutine's. */
__u32 go_attached = 0;

#endif
