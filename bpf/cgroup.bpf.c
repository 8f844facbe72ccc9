/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroups that come and go while containers are watched: what is made within
 * a watched one is watched from then on, and so is a unit or container that
 * is started again, before a process can be in it. Whether another new one is
 * wanted is for user space to say.
 */

#define CGROUP_PATH_MAX 1024

struct cgroup_record {
	struct record head;
	char path[CGROUP_PATH_MAX];
};

/* False for one in a hierarchy that is not looked at. */
static __always_inline bool cgroup_key_of(struct cgroup *cgroup, struct cgroup_key *key)
{
	key->id = BPF_CORE_READ(cgroup, kn, id);
	key->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	if (key->hierarchy == 0)
		return cgroup_v2;
	return cgroup_v1 >= 0 && key->hierarchy == cgroup_v1_hierarchy;
}

static __always_inline void emit_cgroup(const struct cgroup_key *key, const char *path, __u8 kind,
					bool watched)
{
	struct cgroup_record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	long n;

	if (!r) {
		count_lost(LOST_RECORDS, 1);
		return;
	}
	__builtin_memset(&r->head, 0, sizeof(r->head));
	r->head.entry_ns = r->head.return_ns = bpf_ktime_get_ns();
	r->head.kind = kind;
	r->head.object = key->id;
	r->head.born = key->hierarchy;
	if (watched)
		r->head.flags = FLAG_WATCHED;
	n = bpf_probe_read_kernel_str(r->path, sizeof(r->path), path);
	/* Without the NUL. */
	if (n > 1)
		r->head.len = n - 1;
	/* At once: its first program is about to start. */
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

SEC("raw_tp/cgroup_mkdir")
int cgroup_made(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *cgroup = (void *)ctx->args[0];
	struct cgroup_place place = {};
	struct cgroup_key key = {};
	__u32 watch = CGROUP_INSIDE;
	bool watched = true;
	long n;

	if (!cgroup_key_of(cgroup, &key))
		return 0;
	place.parent.hierarchy = key.hierarchy;
	place.parent.id = BPF_CORE_READ(cgroup, self.parent, cgroup, kn, id);
	if (!bpf_map_lookup_elem(&watched_cgroups, &place.parent)) {
		n = bpf_probe_read_kernel_str(place.name, sizeof(place.name),
					      BPF_CORE_READ(cgroup, kn, name));
		watch = CGROUP_SELECTED;
		watched = n > 0 && bpf_map_lookup_elem(&awaited_cgroups, &place);
	}
	if (watched && bpf_map_update_elem(&watched_cgroups, &key, &watch, BPF_ANY))
		count_lost(LOST_CALLS, 1);
	if (watch == CGROUP_SELECTED)
		emit_cgroup(&key, (void *)ctx->args[1], RECORD_CGROUP, watched);
	return 0;
}

SEC("raw_tp/cgroup_rmdir")
int cgroup_gone(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *cgroup = (void *)ctx->args[0];
	struct cgroup_key key = {};
	__u32 *watch;

	if (!cgroup_key_of(cgroup, &key))
		return 0;
	watch = bpf_map_lookup_elem(&watched_cgroups, &key);
	if (!watch)
		return 0;
	if (*watch == CGROUP_SELECTED)
		emit_cgroup(&key, (void *)ctx->args[1], RECORD_CGROUP_GONE, true);
	bpf_map_delete_elem(&watched_cgroups, &key);
	return 0;
}
