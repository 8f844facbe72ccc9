/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * rustls: every record that is encrypted or decrypted passes one function of
 * the key that does it,
 *
 *	<... as MessageEncrypter>::encrypt(&mut self, message, sequence) -> Result
 *	<... as MessageDecrypter>::decrypt(&mut self, message, sequence) -> Result
 *
 * and is called through a table of pointers, so that no optimization removes
 * or copies it. RDI is the address of the result, RSI the key, RDX the address
 * of the message, RCX the number of the record under this key.
 *
 * Programs of their own, because those of tls.bpf.c have no stack left; the
 * cookies are the same.
 */

/*
 * enum ContentType of rustls, by its number. Records of other types are
 * handshakes.
 */
enum rustls_type {
	RUSTLS_ALERT = 1,
	RUSTLS_DATA = 3,
};

#define RUSTLS_WORDS 6
/* How much of the caller's stack is searched. */
#define RUSTLS_STACK 16
/* A record is at most 2^14 + 256 bytes (RFC 8446 5.2) and its header. */
#define RUSTLS_RECORD 17000
/* Rust's Vec is (capacity, address, length): tells the first two apart. */
#define RUSTLS_NO_ADDRESS (1 << 20)
/* Above all numbers of records, below all limits to them in rustls. */
#define RUSTLS_LIMITS (1 << 23)

/*
 * struct RecordLayer of rustls 0.21 to 0.23, whose functions call those of the
 * keys: it has both keys of a connection.
 */
struct rustls_layer {
	__u64 trial[2];
	__u64 encrypter[2];
	__u64 decrypter[2];
	/* 0.21: the next two, and then others. */
	__u64 write_limit;
	__u64 write_sequence;
	__u64 read_sequence;
};

/* Ciphertext, without the header that will stand before it. */
struct rustls_record {
	__u64 address;
	__u64 length;
};

/* A record that is being encrypted or decrypted. */
struct rustls_call {
	/* The stack pointer at its first instruction. */
	__u64 sp;
	/* What its records come under. */
	__u64 object;
	__u64 from_start;
	__u64 entry_ns;
	/* Where the result will be. */
	__u64 result;
	__u64 message[RUSTLS_WORDS];
	/* What is there already looks like a result: an earlier one. */
	__u64 stale;
	/* Room for what does not fit the stack: the caller's record layer, */
	struct rustls_layer layer;
	/* what is at `result`, and the ciphertext that it holds. */
	__u64 words[RUSTLS_WORDS];
	struct rustls_record record;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct thread_key);
	__type(value, struct rustls_call);
} rustls_calls SEC(".maps");

/* Keys: of which connection. The address of a key is that of its state. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_key);
	__type(value, __u64);
} rustls_keys SEC(".maps");

/* By library number: one more than what a good result begins with; 0 unknown. */
__u16 rustls_good[256] = {};

/*
 * Whether there is a record layer at an address which has this key in a field.
 * A global function: see emit_next.
 */
__noinline int rustls_layer_at(__u64 address, __u64 key, __u64 field)
{
	__u64 found = 0;

	if (address < RUSTLS_NO_ADDRESS || address & 7)
		return 0;
	return !bpf_probe_read_user(&found, sizeof(found), (void *)(address + field)) &&
	       found == key;
}

/*
 * Finds the caller's record layer. The caller needs it again after the call
 * (it counts the records there), so it has its address in a register that
 * calls preserve, or, when compiled without optimization, on its stack.
 */
static __always_inline bool rustls_layer_of(struct pt_regs *ctx, struct rustls_layer *layer,
					    __u64 key, __u32 direction)
{
	__u64 field = direction == DIRECTION_SEND ? offsetof(struct rustls_layer, encrypter)
						  : offsetof(struct rustls_layer, decrypter);
	__u64 address, sp = PT_REGS_SP(ctx);

	if (rustls_layer_at(address = ctx->bx, key, field) ||
	    rustls_layer_at(address = ctx->r14, key, field) ||
	    rustls_layer_at(address = ctx->r15, key, field) ||
	    rustls_layer_at(address = ctx->r12, key, field) ||
	    rustls_layer_at(address = ctx->r13, key, field) ||
	    rustls_layer_at(address = ctx->bp, key, field))
		goto found;
	for (int i = 1; i < RUSTLS_STACK; i++) {
		if (bpf_probe_read_user(&address, sizeof(address), (void *)(sp + i * 8)))
			return false;
		if (rustls_layer_at(address, key, field))
			goto found;
	}
	return false;
found:
	return bpf_probe_read_user(layer, sizeof(*layer), (void *)address) == 0;
}

/*
 * What identifies the connection of a key. Both of its keys may be replaced,
 * one at a time, and their addresses be used again by those of another
 * connection, whose first record then has number 0.
 */
static __always_inline void rustls_object(struct pt_regs *ctx, struct rustls_call *call,
					  __u64 tgid, __u64 address, __u64 sequence,
					  __u32 direction)
{
	struct tls_key key = { .object = address, .tgid = tgid }, other = { .tgid = tgid };
	__u64 *known = bpf_map_lookup_elem(&rustls_keys, &key);
	__u64 object = 0, others = 0, own = 0;
	struct rustls_layer *layer = &call->layer;
	bool found;

	call->from_start = 0;
	if (known && sequence) {
		call->object = *known;
		return;
	}
	found = rustls_layer_of(ctx, layer, address, direction);
	if (found) {
		bool limits = layer->write_limit >= RUSTLS_LIMITS;

		if (direction == DIRECTION_SEND) {
			other.object = layer->decrypter[0];
			others = limits ? layer->read_sequence : layer->write_sequence;
			/* It has been counted already. */
			own = (limits ? layer->write_sequence : layer->write_limit) - 1;
		} else {
			other.object = layer->encrypter[0];
			others = limits ? layer->write_sequence : layer->write_limit;
			own = limits || !layer->write_limit ? sequence : layer->write_sequence;
		}
		found = own == sequence;
	}
	/* Before there are keys, the address is that of nothing. */
	if (!found || other.object < RUSTLS_NO_ADDRESS)
		others = 0;
	if (others) {
		known = bpf_map_lookup_elem(&rustls_keys, &other);
		if (known)
			object = *known;
	}
	if (!object) {
		object = bpf_ktime_get_ns() << 8 | (bpf_get_smp_processor_id() & 0xff);
		call->from_start = found && !sequence && !others;
		if (others)
			bpf_map_update_elem(&rustls_keys, &other, &object, BPF_ANY);
	}
	bpf_map_update_elem(&rustls_keys, &key, &object, BPF_ANY);
	call->object = object;
}

/*
 * The type of a message, which stands beside its version, in either order. Both
 * are numbers of variants: that of TLS 1.2 and 1.3 is above all types of use.
 */
static __always_inline __u8 rustls_type(__u64 word)
{
	__u8 first = word, second = word >> 32;

	return first > RUSTLS_DATA ? second : first;
}

/* The ciphertext of a call to decrypt. */
static __always_inline void rustls_ciphertext(const struct rustls_call *call, __u64 *address,
					      __u64 *length)
{
	/* 0.21 has a Vec, later ones a slice. */
	bool is_vec = call->message[0] < RUSTLS_NO_ADDRESS;
	__u64 slice = call->message[0], vec = call->message[1], size = call->message[2];
	__u64 slice_size = call->message[1];

	*address = is_vec ? vec : slice;
	*length = is_vec ? size : slice_size;
}

/*
 * The plaintext in the result of a call to decrypt: it is where the ciphertext
 * was, and shorter by what encryption adds. The content's type follows.
 */
static __always_inline bool rustls_decrypted(const __u64 *result, __u64 address, __u64 length,
					     __u64 *plain, __u8 *type)
{
	if (length < 16 || length > RUSTLS_RECORD)
		return false;
	/* Result 0 is the kind of result. */
	for (int i = 1; i < RUSTLS_WORDS - 2; i++) {
		if (result[i] == address && result[i + 1] <= length - 16) {
			*plain = result[i + 1];
			*type = rustls_type(result[i + 2]);
			return true;
		}
	}
	return false;
}

/* What TLS 1.3, TLS 1.2 with ChaCha20 and with AES-GCM add to the content. */
static __always_inline bool rustls_adds(__u64 bytes)
{
	return bytes == 17 || bytes == 16 || bytes == 24;
}

/* Whoever sends this record of application data has the object's socket. */
static __always_inline void rustls_remember(const struct tls_conn *tls, __u64 object, __u64 tgid,
					    const struct rustls_record *record)
{
	struct cipher_key key = { .tgid = tgid };

	if (record->length < CIPHER_BYTES - 5 ||
	    bpf_probe_read_user(key.start + 5, CIPHER_BYTES - 5, (void *)record->address))
		return;
	key.start[0] = 0x17;
	key.start[1] = 3;
	key.start[2] = 3;
	key.start[3] = record->length >> 8;
	key.start[4] = record->length;
	cipher_remember(tls, object, SOURCE_RUSTLS, &key);
}

/*
 * The content of a call to encrypt and what became of it. What the lengths show
 * to be wrong is not taken for it.
 */
static __always_inline bool rustls_encrypted(struct rustls_call *call, struct job *job, __u8 *type)
{
	const __u64 *message = call->message, *result = call->words;
	struct rustls_record *record = &call->record;

	for (int i = 0; i < 3; i++) {
		__u64 capacity = result[i], address = result[i + 1], length = result[i + 2];

		if (length > capacity || length > RUSTLS_RECORD || length < 16 ||
		    capacity >= RUSTLS_NO_ADDRESS || address < RUSTLS_NO_ADDRESS)
			continue;
		job->cursor.memory = MEMORY_USER;
		/*
		 * 0.23: one slice, or several and a range of their bytes; five
		 * bytes of the result are kept free for the header.
		 */
		record->address = address + 5;
		record->length = length - 5;
		*type = rustls_type(message[4]);
		job->cursor.base = message[1];
		job->left = message[2];
		if (!message[0] && rustls_adds(record->length - job->left))
			return true;
		job->left = message[3] - message[2];
		if (message[0] && rustls_adds(record->length - job->left)) {
			job->cursor.memory = MEMORY_USER_IOVEC;
			job->cursor.base = message[0];
			job->cursor.segments = message[1];
			job->skip = message[2];
			return true;
		}
		/* Before: a slice. */
		record->address = address;
		record->length = length;
		*type = rustls_type(message[2]);
		job->cursor.base = message[0];
		job->left = message[1];
		if (rustls_adds(record->length - job->left))
			return true;
	}
	return false;
}

/* The thread's entry, made if it is not there. */
static __always_inline struct rustls_call *rustls_call_of(const struct thread_key *thread)
{
	struct rustls_call *call = bpf_map_lookup_elem(&rustls_calls, thread);

	if (!call) {
		struct rustls_call fresh = {};

		bpf_map_update_elem(&rustls_calls, thread, &fresh, BPF_NOEXIST);
		call = bpf_map_lookup_elem(&rustls_calls, thread);
	}
	return call;
}

static __always_inline int rustls_enter(struct pt_regs *ctx, __u64 cookie)
{
	__u32 direction = cookie & COOKIE_WRITE ? DIRECTION_SEND : DIRECTION_RECEIVE;
	__u64 result = PT_REGS_PARM1(ctx), key = PT_REGS_PARM2(ctx), message = PT_REGS_PARM3(ctx);
	__u64 sequence = PT_REGS_PARM4(ctx);
	struct tls_site site = { .cookie = cookie };
	struct rustls_call *call;
	struct who who;

	if (!tls_site(ctx, &site, &who))
		return 0;
	call = rustls_call_of(&site.key);
	if (!call) {
		count_lost(LOST_CALLS, 1);
		return 0;
	}
	call->sp = site.sp;
	call->result = result;
	call->entry_ns = bpf_ktime_get_ns();
	call->stale = 0;
	if (bpf_probe_read_user(call->message, sizeof(call->message), (void *)message)) {
		call->sp = 0;
		return 0;
	}
	rustls_object(ctx, call, site.key.tgid, key, sequence, direction);
	if (direction == DIRECTION_RECEIVE) {
		__u64 address, length, plain;
		__u8 type;

		rustls_ciphertext(call, &address, &length);
		call->stale =
			!bpf_probe_read_user(call->words, sizeof(call->words), (void *)result) &&
			rustls_decrypted(call->words, address, length, &plain, &type);
	}
	return 0;
}

static __always_inline int rustls_exit(struct pt_regs *ctx, __u64 cookie, void *emitters)
{
	__u32 direction = cookie & COOKIE_WRITE ? DIRECTION_SEND : DIRECTION_RECEIVE;
	__u8 library = cookie >> COOKIE_LIBRARY_SHIFT, type = 0;
	struct tls_site site = { .cookie = cookie };
	__u64 address, length, plain = 0;
	struct rustls_call *call;
	struct tls_conn *tls;
	struct who who;
	struct job job;

	if (!tls_site(ctx, &site, &who))
		return 0;
	call = bpf_map_lookup_elem(&rustls_calls, &site.key);
	if (!call || call->sp != site.sp)
		return 0;
	call->sp = 0;
	if (bpf_probe_read_user(call->words, sizeof(call->words), (void *)call->result))
		return 0;
	/* Before the job: both would not fit the stack at once. */
	tls = tls_conn_of(call->object, site.key.tgid);
	if (!tls)
		return 0;
	__builtin_memset(&job, 0, sizeof(job));
	if (direction == DIRECTION_SEND) {
		if (!rustls_encrypted(call, &job, &type)) {
			count_lost(LOST_CALLS, 1);
			return 0;
		}
	} else {
		__u16 good = 1 + (__u8)call->words[0];

		rustls_ciphertext(call, &address, &length);
		if (!rustls_decrypted(call->words, address, length, &plain, &type))
			return 0;
		/* A failure leaves what an earlier call has put there. */
		if (!call->stale)
			rustls_good[library] = good;
		/* Of 0 it is not known whose it is. */
		else if (library && rustls_good[library] && rustls_good[library] != good)
			return 0;
		job.cursor.memory = MEMORY_USER;
		job.cursor.base = address;
		job.left = plain;
	}
	if (call->from_start)
		tls->from_start = 1;
	/*
	 * Not by records of handshakes: in TLS 1.3 they have keys of their own,
	 * which may be taken for another connection.
	 */
	if (direction == DIRECTION_SEND && type == RUSTLS_DATA && !tls->socket)
		rustls_remember(tls, call->object, site.key.tgid, &call->record);

	job.head.direction = direction;
	job.head.entry_ns = call->entry_ns;
	job.head.return_ns = bpf_ktime_get_ns();
	job.head.offset = tls->bytes[direction & 1];
	job.head.library = library;
	record_tls(&job.head, tls, call->object, SOURCE_RUSTLS);
	record_who(&job.head, &who);
	if (type == RUSTLS_ALERT && direction == DIRECTION_RECEIVE && tls->bytes[1]) {
		__u8 alert[2] = { 1, 1 };

		/* close_notify */
		if (plain == 2 && !bpf_probe_read_user(alert, 2, (void *)address) && !alert[1]) {
			job.head.kind = RECORD_END;
			emit_bare(&job.head);
		}
	}
	if (type != RUSTLS_DATA || !job.left)
		return 0;
	tls->bytes[direction & 1] += job.left;
	job.head.kind = RECORD_DATA;
	emit(ctx, who.id, &job, emitters);
	return 0;
}

SEC("uprobe")
int rustls_single_enter(struct pt_regs *ctx)
{
	return rustls_enter(ctx, cookie_of(ctx));
}

SEC("uprobe")
int rustls_single_exit(struct pt_regs *ctx)
{
	return rustls_exit(ctx, cookie_of(ctx), &tls_emitters);
}

SEC("uprobe.multi")
int rustls_multi_enter(struct pt_regs *ctx)
{
	return rustls_enter(ctx, bpf_get_attach_cookie(ctx));
}

SEC("uprobe.multi")
int rustls_multi_exit(struct pt_regs *ctx)
{
	return rustls_exit(ctx, bpf_get_attach_cookie(ctx), &tls_multi_emitters);
}
