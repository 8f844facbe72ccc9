#!/bin/bash
# `make test-kernels`: boots each kernel of kernels.list in qemu, on this
# machine's own root file system (read-only), and runs the kernel subset of the
# live tests in it with the backends that this machine's kernel may not have.
#
#   scripts/kernel-test.sh [NAME…]          all kernels of the list if none
#
# KERNEL_TEST_ONLY: a part of the names of the tests; KERNEL_TEST_SECONDS: the
# time that a kernel has for them.
#
# Emulated, because nested KVM cannot be relied on: a boot takes 10 to 20 s, and
# no timing inside means anything. A machine has two processors, which one
# thread of the emulator runs in turn: with a thread for each, kernels now and
# then hung, or executed a breakpoint that the other processor had taken away
# again from code that the kernel patches. As many machines run at once as there
# are processors here.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

# A machine hangs that gives no sign of life for so many seconds.
readonly SILENT_SECONDS=180
readonly TEST_SECONDS=${KERNEL_TEST_SECONDS:-1500}

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

# boot IMAGE RESULTS: runs the guest script; its output is in RESULTS/log, the
# whole console in RESULTS/console. vng wants a terminal, so `script` lends it
# one; without --verbose the guest's output is lost. Fails if the machine hangs.
boot() {
	local image=$1 results=$2 command machine now='' seen='' since=$SECONDS
	command="env CI=${CI:-} HTTPSNIFF_TEST_BACKEND=kprobe HTTPSNIFF_TEST_SLOW=1"
	command+=" KERNEL_TEST_SECONDS=$TEST_SECONDS KERNEL_TEST_ONLY=${KERNEL_TEST_ONLY:-kernel::}"
	command+=" bash $PWD/scripts/kernel-guest.sh $binary $results"
	rm -rf "$results"
	mkdir -p "$results"
	timeout --kill-after=10 $((TEST_SECONDS + 300)) \
		script -qec "vng --disable-kvm --force-9p --disable-microvm --verbose --run $image \
			--memory 2G --cpus 2 --qemu-opts='-accel tcg,thread=single' \
			--user root --rwdir=$results --exec '$command'" /dev/null \
		>"$results/console" 2>&1 </dev/null &
	machine=$!
	# The guest touches `alive` as long as its kernel runs programs, whatever
	# the tests do.
	while kill -0 $machine 2>/dev/null; do
		now=$(stat -c %y "$results/alive" 2>/dev/null || true)
		if [ "$now" != "$seen" ]; then
			seen=$now since=$SECONDS
		elif [ $((SECONDS - since)) -ge $SILENT_SECONDS ]; then
			kill $machine || true
			wait $machine || true
			return 1
		fi
		sleep 1
	done
	wait $machine || true
}

# run NAME IMAGE: the tests in one kernel. A machine that hangs is booted once
# more: emulated kernels have hung before anything of ours ran in them. One that
# hangs again has failed.
run() {
	local name=$1 image=$2 results=$PWD/target/kernels/results/$1 started=$SECONDS status
	say "$name" "booting $(basename "$image")"
	if ! boot "$image" "$results"; then
		say "$name" "the machine HANGS after $((SECONDS - started)) s; the end of its console, and once more:"
		tail -n 60 "$results/console"
		tail -n 5 "$results/log" 2>/dev/null || true
		printf '\n'
		boot "$image" "$results" || say "$name" "the machine HANGS again"
	fi
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
		return 1
	fi
}

names=()
images=()
failed=()
while read -r name suite pattern; do
	case $name in '' | '#'*) continue ;; esac
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
	if image=$(scripts/kernel-fetch.sh "$name" "$suite" "$pattern"); then
		names+=("$name")
		images+=("$image")
	else
		failed+=("$name")
		say "$name" "could not be fetched"
	fi
done <scripts/kernels.list
ran=$((${#names[@]} + ${#failed[@]}))
[ $ran -gt 0 ] || {
	echo "kernel-test: no such kernel in scripts/kernels.list: $*" >&2
	exit 1
}

# What a machine says is kept together, and printed when it has ended.
reports=$PWD/target/kernels/reports
rm -rf "$reports"
mkdir -p "$reports"
declare -A running=()
# ended: waits for a machine and prints its report.
ended() {
	local pid status=0
	wait -n -p pid "${!running[@]}" || status=$?
	name=${running[$pid]}
	unset "running[$pid]"
	cat "$reports/$name"
	if [ $status != 0 ]; then failed+=("$name"); fi
}
for i in "${!names[@]}"; do
	if [ ${#running[@]} -ge "$(nproc)" ]; then ended; fi
	run "${names[i]}" "${images[i]}" >"$reports/${names[i]}" 2>&1 &
	running[$!]=${names[i]}
done
while [ ${#running[@]} -gt 0 ]; do ended; done

echo "kernels: $((ran - ${#failed[@]})) passed, ${#failed[@]} failed${failed[*]:+ (${failed[*]})}"
[ ${#failed[@]} = 0 ]
