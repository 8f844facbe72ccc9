#!/bin/bash
# Downloads and unpacks the TLS libraries of tls.list into target/tls/NAME,
# side by side. Nothing is installed on the machine. What is there is left as
# it is, so a second call takes no time and needs no network.
#
#   scripts/tls-fetch.sh [NAME…]        all of the list if none
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/target/tls
fail() { printf 'tls %s: %s\n' "$name" "$*" >&2; return 1; }

# The mirror is the one this machine is set up with, so that no address stands
# here; security and backports hang off others and are left out.
mirrors() {
	apt-get indextargets --format '$(REPO_URI) $(SUITE) $(ORIGIN)' 2>/dev/null |
		awk '$3 == "Debian" && $2 !~ /security|updates|backports/ { print $1 }' | sort -u
}
find_mirror() {
	mirror=$(mirrors | head -n 1)
	if [ -z "$mirror" ]; then
		local as_root=
		[ "$(id -u)" = 0 ] || as_root=sudo
		$as_root apt-get -qq update >&2 || true
		mirror=$(mirrors | head -n 1)
	fi
	[ -n "$mirror" ] || fail "apt knows no mirror of Debian"
}

# fetch NAME SUITES PACKAGE…: apt gets lists and folders of its own: the
# machine's suite and pins have no say, and root is not needed.
fetch() {
	name=$1
	local suites=$2 tree=$home/$1 state=$home/apt/$2 suite file
	shift 2
	# The stamp is made last: a tree without it is a download that broke off.
	[ ! -e "$tree/.unpacked" ] || return 0
	command -v apt-get >/dev/null || fail "there is no apt-get" || return
	[ -n "${mirror:-}" ] || find_mirror || return
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages"
	for suite in ${suites//,/ }; do
		printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
			"$mirror" "$suite"
	done >"$state/sources.list"
	: >"$state/status"
	local options=(
		-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o "Dir::State=$state" -o "Dir::State::lists=$state/lists"
		-o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
		-o Acquire::Languages=none -o Acquire::Retries=3
		-o APT::Sandbox::User=root -o APT::Architecture=amd64 -o APT::Architectures=amd64
	)
	apt-get -qq "${options[@]}" update >&2 || fail "cannot read the package lists of $suites" || return
	printf 'tls %s: fetching %s\n' "$name" "$*" >&2
	rm -f "$state"/packages/*.deb
	(cd "$state/packages" && apt-get -qq "${options[@]}" download "$@" >&2) ||
		fail "cannot download $*" || return
	rm -rf "$tree"
	mkdir -p "$tree"
	for file in "$state"/packages/*.deb; do dpkg-deb -x "$file" "$tree" || return; done
	rm -f "$state"/packages/*.deb
	touch "$tree/.unpacked"
}

mkdir -p "$home"
# One at a time: tests and colleagues share the folder.
exec 9>"$home/.lock"
flock 9
status=0
while read -r listed suites packages; do
	case $listed in '' | '#'*) continue ;; esac
	if [ $# -gt 0 ] && [[ " $* " != *" $listed "* ]]; then continue; fi
	# shellcheck disable=SC2086 # the packages are words
	fetch "$listed" "$suites" $packages || status=1
done <scripts/tls.list
exit $status
