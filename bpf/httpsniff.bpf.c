/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All programs in one object, so that they share one ring buffer and one
 * table of connections. Each family of hooks has a file of its own; user
 * space decides which of them are loaded.
 */
#include "include/types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "include/conn.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the types that only user space needs in the object. */
const struct record *unused_record __attribute__((unused));
const struct counts *unused_counts __attribute__((unused));
struct {
	enum record_kind kind;
	enum record_direction direction;
	enum record_source source;
	enum record_reason reason;
	enum record_flag flag;
	enum lost_counter counter;
	enum watch watch;
	enum cgroup_watch cgroup_watch;
} unused_enums __attribute__((unused));

#include "state.bpf.c"
#include "socket.bpf.c"
#include "kprobe.bpf.c"
#include "tls.bpf.c"
#include "rustls.bpf.c"
#include "process.bpf.c"
#include "cgroup.bpf.c"

enum tls_cookie unused_cookie __attribute__((unused));
