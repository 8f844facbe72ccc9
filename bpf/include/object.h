/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TLS objects as they come and go: made, freed, made anew.
 *
 * Included by tls.bpf.c, whose part it is.
 */
#ifndef HTTPSNIFF_OBJECT_H
#define HTTPSNIFF_OBJECT_H

static __always_inline void tls_closed(const struct who *who, const struct tls_conn *tls,
				       __u64 object, __u8 source)
{
	struct record head = {};

	if (!tls->bytes[0] && !tls->bytes[1])
		return;
	head.kind = RECORD_CLOSE;
	head.entry_ns = head.return_ns = bpf_ktime_get_ns();
	record_tls(&head, tls, object, source);
	record_who(&head, who);
	emit_bare(&head);
}

/* The object is being freed. */
static __always_inline int tls_forget(const struct who *who, __u64 object, __u8 source)
{
	struct tls_key key = { .object = object, .tgid = who->id >> 32 };
	struct tls_conn *tls = bpf_map_lookup_elem(&tls_conns, &key);

	if (!tls)
		return 0;
	tls_vacate(tls);
	tls_closed(who, tls, object, source);
	bpf_map_delete_elem(&tls_conns, &key);
	return 0;
}

/*
 * The peer has thrown away the early data: what is written from now on, the
 * same again as a rule, is the first that it gets.
 */
static __always_inline int tls_rejected(const struct who *who, __u64 object, __u8 source)
{
	struct tls_conn *tls = tls_conn_known(object, who->id >> 32);

	if (!tls || !tls->early || tls->early != tls->bytes[0] || tls->bytes[1])
		return 0;
	tls_closed(who, tls, object, source);
	tls->born = bpf_ktime_get_ns();
	tls->bytes[0] = 0;
	tls->early = 0;
	return 0;
}

/* An object is made: whatever comes of it will be seen from its beginning. */
static __always_inline int tls_made(const struct who *who, __u64 object)
{
	struct tls_conn fresh = { .born = bpf_ktime_get_ns(), .from_start = 1 };
	struct tls_key key = { .object = object, .tgid = who->id >> 32 };

	if (object)
		bpf_map_update_elem(&tls_conns, &key, &fresh, BPF_ANY);
	return 0;
}

#endif
