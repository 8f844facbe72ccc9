#!/bin/bash
# The part of `make test-kernels` that runs inside the virtual machine, as
# root: prepares the guest and runs the live tests' kernel subset.
#
#   kernel-guest.sh TEST-BINARY RESULTS-FOLDER
#
# Writes RESULTS-FOLDER/log and, last of all, RESULTS-FOLDER/status. Touches
# RESULTS-FOLDER/alive every few seconds meanwhile.
set -u
binary=$1 results=$2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

while touch "$results/alive"; do sleep 5; done &

{
	uname -r
	ip link set lo up
	mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	# Both versions of cgroups: containers are told by either.
	grep -q ' - cgroup2 ' /proc/self/mountinfo || {
		mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2
	}
	mkdir -p /run/cgroup1 && mount -t cgroup -o pids pids /run/cgroup1
	# One after the other: the machine is emulated and slow.
	timeout "${KERNEL_TEST_SECONDS:-1500}" "$binary" "${KERNEL_TEST_ONLY:-kernel::}" --test-threads 1
	status=$?
	if [ $status = 124 ]; then echo "the tests did not end in time"; fi
	dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|suspicious' && status=99
} >"$results/log" 2>&1
cat "$results/log"
echo "$status" >"$results/status"
sync
