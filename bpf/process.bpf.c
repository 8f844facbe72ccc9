/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Processes: exec with arguments and executable, taken in the kernel because
 * a process of 5 ms is gone before anyone can read /proc; fork, for
 * descendants; exit.
 */

#define ARGUMENTS_MAX 4096
#define PATH_MAX_BYTES 1024
#define PATH_MAX_NAMES 24
#define NAME_MAX_BYTES 256

struct arguments {
	struct record head;
	char text[ARGUMENTS_MAX];
};

struct executable {
	struct record head;
	/* The tail lets the last name overrun. */
	char text[PATH_MAX_BYTES + NAME_MAX_BYTES];
};

static __always_inline void record_task(struct record *head, struct task_struct *task, __u32 pid)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->entry_ns = head->return_ns = bpf_ktime_get_ns();
	head->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	head->pid = pid;
	head->tid = pid;
	head->uid = bpf_get_current_uid_gid();
	BPF_CORE_READ_INTO(&head->thread, task, comm);
}

/* The names from the file up to the root, through mounts. */
static __always_inline void emit_executable(struct task_struct *task, __u32 pid)
{
	struct executable *r;
	struct dentry *dentry;
	struct vfsmount *vfsmount;
	struct mount *mount;
	__u64 used;

	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(LOST_RECORDS, 1);
		return;
	}
	record_task(&r->head, task, pid);
	r->head.kind = RECORD_EXE;
	dentry = BPF_CORE_READ(task, mm, exe_file, f_path.dentry);
	vfsmount = BPF_CORE_READ(task, mm, exe_file, f_path.mnt);
	mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	/* 0, but for the verifier any number: its first round is like the rest. */
	used = *(volatile __u32 *)&r->head.len & (PATH_MAX_BYTES - 1);
	for (int i = 0; i < PATH_MAX_NAMES; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		struct dentry *root = BPF_CORE_READ(mount, mnt.mnt_root);

		if (dentry == root || dentry == parent) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount) {
				r->head.len = used;
				break;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
		long n;

		n = bpf_probe_read_kernel_str(r->text + used, NAME_MAX_BYTES, name);
		if (n <= 0 || used + n >= PATH_MAX_BYTES)
			break;
		used += n;
		/* The same bounds in each round, or the verifier walks them all. */
		asm volatile("" : "+r"(used));
		used &= PATH_MAX_BYTES - 1;
		dentry = parent;
	}
	bpf_ringbuf_submit(r, wakeup_flags());
}

static __always_inline void emit_arguments(struct task_struct *task, __u32 pid)
{
	struct arguments *r;
	__u64 start, size;

	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(LOST_RECORDS, 1);
		return;
	}
	record_task(&r->head, task, pid);
	r->head.kind = RECORD_EXEC;
	start = BPF_CORE_READ(task, mm, arg_start);
	/* Not past the end: the environment follows. */
	size = BPF_CORE_READ(task, mm, arg_end) - start;
	if (size > ARGUMENTS_MAX) {
		r->head.flags |= FLAG_CUT;
		size = ARGUMENTS_MAX;
	}
	asm volatile("" : "+r"(size));
	if (size > ARGUMENTS_MAX)
		size = ARGUMENTS_MAX;
	if (bpf_probe_read_user(r->text, size, (void *)start) == 0)
		r->head.len = size;
	/* At once: the program may have a TLS library of its own. */
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct who who;

	if (!watch_current(&who))
		return 0;
	emit_executable(task, who.pid);
	emit_arguments(task, who.pid);
	return 0;
}

SEC("raw_tp/sched_process_fork")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	struct record head;
	__u32 from, pid, *mode;

	/* A thread is not a process. */
	if (BPF_CORE_READ(parent, tgid) == BPF_CORE_READ(child, tgid))
		return 0;
	from = pid_of(parent);
	pid = pid_of(child);
	if (!from || !pid || from == own_pid)
		return 0;
	if (filter_pids) {
		mode = bpf_map_lookup_elem(&watched, &from);
		if (!mode || *mode != WATCH_TREE)
			return 0;
		__u32 tree = WATCH_TREE;
		if (bpf_map_update_elem(&watched, &pid, &tree, BPF_ANY))
			count_lost(LOST_CALLS, 1);
	}
	record_task(&head, child, pid);
	head.kind = RECORD_FORK;
	head.tid = from;
	emit_bare(&head);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u64 id = bpf_get_current_pid_tgid();
	struct thread_key key;
	struct record head;
	__u32 pid;

	key.tgid = id >> 32;
	key.task = (__u32)id;
	bpf_map_delete_elem(&tls_threads, &key);
	bpf_map_delete_elem(&calls, &id);
	bpf_map_delete_elem(&jobs, &id);
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	/* Of any user: a pid must not stay watched, nor its facts be kept. */
	pid = pid_of(task);
	if (!pid || pid == own_pid)
		return 0;
	if (filter_pids && bpf_map_delete_elem(&watched, &pid))
		return 0;
	record_task(&head, task, pid);
	head.kind = RECORD_EXIT;
	emit_bare(&head);
	return 0;
}
