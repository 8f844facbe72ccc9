#!/bin/bash
# `make test-kernels`: boots each kernel of kernels.list in qemu, on this
# machine's own root file system (read-only), and runs the kernel subset of the
# live tests in it with the backends that this machine's kernel may not have.
#
#   scripts/kernel-test.sh [NAME…]          all kernels of the list if none
#
# KERNEL_TEST_ONLY: a part of the names of the tests; KERNEL_TEST_SECONDS: the
# time that a kernel has for them; KERNEL_BOOT_SECONDS: the time to boot.
#
# Emulated, because nested KVM cannot be relied on: a boot takes 10 to 20 s, and
# no timing inside means anything.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

say() { printf 'kernel %s: %s\n' "$1" "$2"; }

# The guest sees this machine's files, so the binaries are built here.
cargo build --locked --release
binary=$(
	cargo test --locked --release --test live --no-run --message-format=json |
		jq -r 'select(.reason == "compiler-artifact" and .target.name == "live") | .executable // empty'
)
[ -x "$binary" ] || {
	echo "kernel-test: the live tests were not built" >&2
	exit 1
}

# boot NAME IMAGE RESULTS: runs the guest script; its output is in RESULTS/log,
# the whole console in RESULTS/console. vng wants a terminal, so `script` lends
# it one; without --verbose the guest's output is lost. A machine whose script
# has not begun after BOOT_SECONDS hangs, and is ended.
readonly BOOT_SECONDS=${KERNEL_BOOT_SECONDS:-150}
boot() {
	local command machine began=$SECONDS
	command="env CI=${CI:-} HTTPSNIFF_TEST_BACKEND=kprobe HTTPSNIFF_TEST_SLOW=1"
	command+=" KERNEL_TEST_SECONDS=${KERNEL_TEST_SECONDS:-1500}"
	command+=" KERNEL_TEST_ONLY=${KERNEL_TEST_ONLY:-kernel::}"
	command+=" bash $PWD/scripts/kernel-guest.sh $binary $3"
	timeout --kill-after=10 $((${KERNEL_TEST_SECONDS:-1500} + 180)) \
		script -qec "vng --disable-kvm --force-9p --disable-microvm --verbose --run $2 \
			--memory 2G --cpus 2 --user root --rwdir=$3 --exec '$command'" /dev/null \
		>"$3/console" 2>&1 </dev/null &
	machine=$!
	while [ ! -e "$3/log" ] && kill -0 $machine 2>/dev/null; do
		if [ $((SECONDS - began)) -ge $BOOT_SECONDS ]; then
			kill $machine || true
			break
		fi
		sleep 1
	done
	wait $machine
}

# emulator_failed RESULTS: whether it was not this project that failed. Emulated
# kernels now and then panic or hang while they boot, before anything of ours
# runs in them. And a processor may still execute the breakpoint that another
# has taken away again, which the kernel puts where it patches its own code: an
# Oops that real processors do not know.
emulator_failed() {
	[ ! -e "$1/status" ] || return 1
	[ ! -e "$1/log" ] || grep -q 'Oops: int3' "$1/console"
}

failed=()
ran=0
while read -r name suite pattern; do
	case $name in '' | '#'*) continue ;; esac
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
	ran=$((ran + 1))
	image=$(scripts/kernel-fetch.sh "$name" "$suite" "$pattern") || {
		failed+=("$name")
		say "$name" "could not be fetched"
		continue
	}
	results=$PWD/target/kernels/results/$name
	rm -rf "$results"
	mkdir -p "$results"
	say "$name" "booting $(basename "$image")"
	started=$SECONDS
	boot "$name" "$image" "$results" || true
	for _ in 1 2; do
		emulator_failed "$results" || break
		say "$name" "the emulator failed; the end of the console, and once more:"
		tail -n 60 "$results/console"
		rm -f "$results/log"
		boot "$name" "$image" "$results" || true
	done
	status=$(cat "$results/status" 2>/dev/null || echo none)
	if [ -s "$results/log" ]; then
		sed "s/^/[$name] /; s/^\[$name\] test result:/test result:/" "$results/log"
	fi
	if [ "$status" = none ]; then
		say "$name" "the virtual machine ended early; the end of its console:"
		tail -n 40 "$results/console"
	fi
	if [ "$status" = 0 ] && grep -q '^test result: ok. [1-9]' "$results/log"; then
		say "$name" "passed in $((SECONDS - started)) s"
	else
		say "$name" "FAILED (status $status)"
		failed+=("$name")
	fi
done <scripts/kernels.list

[ $ran -gt 0 ] || {
	echo "kernel-test: no such kernel in scripts/kernels.list: $*" >&2
	exit 1
}
echo "kernels: $((ran - ${#failed[@]})) passed, ${#failed[@]} failed${failed[*]:+ (${failed[*]})}"
[ ${#failed[@]} = 0 ]
