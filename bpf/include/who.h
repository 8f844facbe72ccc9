/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who runs, and whether the user wants to see it. */
#ifndef HTTPSNIFF_WHO_H
#define HTTPSNIFF_WHO_H

#include "maps.h"

struct who {
	/* As the kernel numbers it: process id above, thread id below. */
	__u64 id;
	/* In the user's pid namespace; 0: not in it. */
	__u32 pid;
	__u32 tid;
};

/* A global function: see emit_next. */
__noinline int count_lost(__u32 counter, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&lost, &counter);

	/* Of adding 0 clang makes an atomic or, which 5.10 does not know. */
	asm volatile("" : "+r"(n));
	if (value)
		__sync_fetch_and_add(value, n);
	return 0;
}

/* Whether the current thread is in one of the watched cgroups. */
static __always_inline bool in_watched_cgroup(void)
{
	struct cgroup_key key = {};
	struct cgroup_subsys_state *state = NULL;
	struct task_struct *task;
	struct css_set *set;

	if (cgroup_v2) {
		key.id = bpf_get_current_cgroup_id();
		if (bpf_map_lookup_elem(&watched_cgroups, &key))
			return true;
	}
	if (cgroup_v1 < 0)
		return false;
	task = (void *)bpf_get_current_task();
	set = BPF_CORE_READ(task, cgroups);
	if (bpf_probe_read_kernel(&state, sizeof(state),
				  (void *)set + bpf_core_field_offset(struct css_set, subsys) +
					  cgroup_v1 * sizeof(state)))
		return false;
	key.hierarchy = cgroup_v1_hierarchy;
	key.id = BPF_CORE_READ(state, cgroup, kn, id);
	return bpf_map_lookup_elem(&watched_cgroups, &key) != NULL;
}

static __always_inline bool is_watched(__u32 pid)
{
	if (pid == 0 || pid == own_pid)
		return false;
	if (filter_pids && !bpf_map_lookup_elem(&watched, &pid))
		return false;
	if (filter_uids) {
		__u32 uid = bpf_get_current_uid_gid();

		if (!bpf_map_lookup_elem(&watched_uids, &uid))
			return false;
	}
	if (filter_cgroups && !in_watched_cgroup())
		return false;
	return true;
}

/* Fills in the current thread; false if it is not to be watched. */
static __always_inline bool watch_current(struct who *who)
{
	who->id = bpf_get_current_pid_tgid();
	who->pid = who->id >> 32;
	who->tid = who->id;
	if (pidns_ino) {
		struct bpf_pidns_info ns = {};

		if (bpf_get_ns_current_pid_tgid(pidns_dev, pidns_ino, &ns, sizeof(ns)))
			return false;
		who->pid = ns.tgid;
		who->tid = ns.pid;
	}
	return is_watched(who->pid);
}

enum bpf_func_id___any {
	BPF_FUNC_get_attach_cookie___any,
	BPF_FUNC_task_pt_regs___any,
};

/* sizeof(union thread_union) on x86-64 without KASAN, 4.0 to 7.2. */
#define KERNEL_STACK_SIZE 16384

/* The registers that the process had when it entered the kernel. */
static __always_inline struct pt_regs *user_registers(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___any, BPF_FUNC_task_pt_regs___any)) {
		struct task_struct *task = (void *)bpf_get_current_task_btf();

		return (void *)bpf_task_pt_regs((void *)task);
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		return (void *)BPF_CORE_READ(task, stack) + KERNEL_STACK_SIZE -
		       bpf_core_type_size(struct pt_regs);
	}
}

/* A register that the process had when it entered the kernel. */
static __always_inline bool user_register_r14(__u64 *value)
{
	*value = BPF_CORE_READ(user_registers(), r14);
	return true;
}

/* A process's id in the user's pid namespace, 0 if it has none there. */
static __always_inline __u32 pid_of(struct task_struct *task)
{
	struct task_struct *leader;
	struct pid *pid;
	int level;

	if (!pidns_ino)
		return BPF_CORE_READ(task, tgid);
	leader = BPF_CORE_READ(task, group_leader);
	pid = BPF_CORE_READ(leader, thread_pid);
	level = BPF_CORE_READ(pid, level);
	/* MAX_PID_NS_LEVEL is 32; deeper than 8 is not seen in practice. */
	for (int i = 0; i < 8; i++) {
		struct upid *upid;

		if (i > level)
			break;
		upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		       i * bpf_core_type_size(struct upid);
		if (BPF_CORE_READ(upid, ns, ns.inum) == pidns_ino)
			return BPF_CORE_READ(upid, nr);
	}
	return 0;
}

#endif
