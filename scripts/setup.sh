#!/bin/bash
# Installs what building and testing httpsniff need on Debian and Ubuntu, and
# nothing that is already there. Called by make; says what it installs.
#
#   scripts/setup.sh GROUP…      groups: build demo test lint kernels bench
#
# It looks first, so a second call takes no time, needs no network and no root.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RUST_MINIMUM=1.93

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

packages=()

# want COMMAND-OR-FILE PACKAGE: notes the package if the command or file is
# not there. Checked by what it gives and not by its name, so that a tool that
# came another way (node, for one) counts too.
want() {
	local probe=$1 package=$2
	case $probe in
	/*) [ -e "$probe" ] && return ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$probe" >/dev/null && return ;;
	esac
	packages+=("$package")
}

group_build() {
	want clang clang
	want gcc gcc
	want make make
	want pkg-config pkg-config
	want /usr/include/stdlib.h libc6-dev
	want /usr/include/gelf.h libelf-dev
	want /usr/include/zlib.h zlib1g-dev
}

group_demo() {
	group_build
	want curl curl
	want openssl openssl
	want /usr/bin/python3 python3
	# python3-minimal comes without these.
	/usr/bin/python3 -c 'import http.server, ssl' 2>/dev/null || packages+=(python3)
}

group_test() {
	group_demo
	want nginx nginx-light
	want haproxy haproxy
	want /usr/include/openssl/ssl.h libssl-dev
	want wget wget
	want /etc/ssl/certs/ca-certificates.crt ca-certificates
	want node nodejs
	want /usr/share/nodejs/ws node-ws
	want /usr/lib/python3/dist-packages/websockets python3-websockets
	want nghttp nghttp2-client
	want nghttpd nghttp2-server
	want nghttpx nghttp2-proxy
	want ruby ruby
	# Debian has it apart from Ruby, in a folder with its version.
	ruby -rwebrick/https -e "" 2>/dev/null || packages+=(ruby-webrick)
	/usr/bin/python3 -c 'import httpx, h2' 2>/dev/null || packages+=(python3-httpx python3-h2)
	want /usr/lib/python3/dist-packages/hypercorn python3-hypercorn
	/usr/bin/python3 -c 'import grpc' 2>/dev/null || packages+=(python3-grpcio)
	want /usr/bin/perl perl
	want /usr/share/perl5/IO/Socket/SSL.pm libio-socket-ssl-perl
	want php php-cli
	# Its TLS is not read, which is to be said.
	want java default-jre-headless
	want tshark tshark
	want tcpdump tcpdump
	want jq jq
	want /usr/share/nodejs/har-validator node-har-validator
	# For what scripts/peers.sh installs into a venv.
	/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
	want go golang-go
	# An older Go beside the newest, where there is a package.
	if apt-cache show golang-1.19-go >/dev/null 2>&1; then
		want /usr/lib/go-1.19/bin/go golang-1.19-go
	fi
	want gcc gcc
	want nm binutils
	want /usr/include/openssl/ssl.h libssl-dev
	want ip iproute2
	want ps procps
	want podman podman
	want runc runc
	# What builds BoringSSL (scripts/peers.sh).
	want g++ g++
	want cmake cmake
	want ninja ninja-build
	want strip binutils
	# Programs on other TLS libraries than OpenSSL, and those to build more.
	want git git
	want gnutls-serv gnutls-bin
	want selfserv libnss3-tools
	want /usr/include/gnutls/gnutls.h libgnutls28-dev
	want /usr/include/nss/ssl.h libnss3-dev
	want /usr/include/wolfssl/ssl.h libwolfssl-dev
	want /usr/include/mbedtls/ssl.h libmbedtls-dev
	if [ ! -e /usr/lib/x86_64-linux-gnu/libcurl-nss.so.4 ]; then
		# Gone after Debian 12; a test skips without it.
		apt-cache show libcurl3-nss >/dev/null 2>&1 && packages+=(libcurl3-nss)
	fi
}

group_lint() {
	group_build
	want clang-format clang-format
}

group_kernels() {
	group_test
	want qemu-system-x86_64 qemu-system-x86
	want depmod kmod
	want script bsdutils
	# The guest's first process is a static busybox.
	if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
		packages+=(busybox-static)
	fi
	# `python3 -m venv` exists without python3-venv but cannot make one.
	if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
		packages+=(python3-venv)
	fi
}

group_bench() {
	group_demo
	want nginx nginx-light
	want wrk wrk
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "installing packages needs root: run this as root, or install sudo"
	fi
}

# nginx and haproxy are wanted as programs. Their packages would start services,
# of which nginx's listens on every address, now and at each boot: the services
# are masked beforehand, and for this installation no package may start anything.
install_packages() {
	command -v apt-get >/dev/null ||
		fail "these are missing and there is no apt-get to install them: ${packages[*]}"
	say "installing ${packages[*]}"
	local policy=/usr/sbin/policy-rc.d made_policy=
	local package service
	for package in "${packages[@]}"; do
		case $package in
		nginx-light | haproxy) service=${package%-light} ;;
		*) continue ;;
		esac
		if [ -d /etc/systemd/system ] && [ ! -e "/etc/systemd/system/$service.service" ]; then
			as_root ln -s /dev/null "/etc/systemd/system/$service.service"
			say "the system's $service service is masked; 'systemctl unmask $service' undoes it"
		fi
		if [ ! -e $policy ]; then
			printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
			as_root chmod 755 $policy
			made_policy=yes
		fi
	done
	local status=0
	{
		as_root apt-get -qq -o Acquire::Retries=3 update &&
			as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
				-o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
				install --no-install-recommends "${packages[@]}" >&2
	} || status=$?
	if [ -n "$made_policy" ]; then as_root rm -f $policy; fi
	[ $status = 0 ] || fail "apt-get could not install: ${packages[*]}"
}

check_rust() {
	command -v cargo >/dev/null && command -v rustc >/dev/null ||
		fail "Rust $RUST_MINIMUM or later is needed: install it by rustup, then try again"
	local version
	version=$(rustc --version | awk '{print $2}')
	if [ "$(printf '%s\n%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)" != "$RUST_MINIMUM" ]; then
		fail "Rust $version is too old, $RUST_MINIMUM or later is needed: run 'rustup update stable'"
	fi
}

# rustup's minimal profile comes without these two.
check_rust_lints() {
	local component
	for component in fmt clippy; do
		cargo "$component" --version >/dev/null 2>&1 && continue
		command -v rustup >/dev/null || fail "cargo $component is missing and there is no rustup to add it"
		rustup component add "${component/#fmt/rustfmt}" >&2
	done
}

# virtme-ng boots a kernel on this machine's own root file system. It lives in
# the project's .venv; nothing of it is installed on the machine.
check_virtme() {
	[ -x .venv/bin/vng ] && return
	say "installing virtme-ng into .venv"
	/usr/bin/python3 -m venv .venv
	.venv/bin/pip --quiet --disable-pip-version-check install 'virtme-ng==1.42'
}

[ $# -gt 0 ] || fail "say what for: build demo test lint kernels bench"
for group in "$@"; do
	case $group in
	build | demo | test | lint | kernels | bench) "group_$group" ;;
	*) fail "no such group: $group" ;;
	esac
done
check_rust
if [ ${#packages[@]} -gt 0 ]; then install_packages; fi
for group in "$@"; do
	case $group in
	lint) check_rust_lints ;;
	kernels) check_virtme ;;
	esac
done
