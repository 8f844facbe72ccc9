/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel types that the programs look at, each cut down to the fields
 * they need. libbpf relocates every access to the running kernel's layout
 * (CO-RE), so no vmlinux.h is needed and one object fits all kernels.
 */
#ifndef HTTPSNIFF_TYPES_H
#define HTTPSNIFF_TYPES_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)

/* Makes bpf_tracing.h use the kernel's names of registers (di, si, ...). */
#define __VMLINUX_H__

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};

enum {
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

struct bpf_pidns_info {
	__u32 pid;
	__u32 tgid;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u16 sk_protocol;
	/* A bit field before 5.11. */
	__u8 sk_shutdown;
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	/* After the last byte that has left. */
	__u32 snd_nxt;
	/* When the last segment left, on CLOCK_MONOTONIC (4.20). */
	__u64 tcp_wstamp_ns;
};

struct iovec {
	void *iov_base;
	unsigned long iov_len;
};

struct iov_iter {
	unsigned long iov_offset;
	unsigned long count;
	unsigned long nr_segs;
};

/* 5.10: a bit mask with the direction in bit 0. */
struct iov_iter___mask {
	unsigned int type;
	const struct iovec *iov;
};

/* 5.14 to 6.3, ITER_UBUF from 6.0 on. */
struct iov_iter___iov {
	__u8 iter_type;
	const struct iovec *iov;
	void *ubuf;
};

/* 6.4 and later. */
struct iov_iter___ubuf {
	__u8 iter_type;
	const struct iovec *__iov;
	void *ubuf;
};

struct msghdr {
	struct iov_iter msg_iter;
	unsigned int msg_flags;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct kernfs_node {
	const char *name;
	/* What user space sees as the directory's inode number (5.5). */
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

/* A task's cgroups in all hierarchies. */
struct css_set {
	/* One for each controller. */
	struct cgroup_subsys_state *subsys[1];
};

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	char comm[16];
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct task_struct *group_leader;
	struct css_set *cgroups;
	void *stack;
};

#pragma clang attribute pop

/* Only the presence and values of these are asked for, never their numbers. */
enum iter_type___any {
	ITER_IOVEC___any,
	ITER_KVEC___any,
	ITER_UBUF___any,
};

#endif
