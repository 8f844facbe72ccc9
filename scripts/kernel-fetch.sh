#!/bin/bash
# Downloads and unpacks a Debian kernel into target/kernels/NAME and prints the
# path of its image. Nothing is installed on the machine.
#
#   scripts/kernel-fetch.sh NAME SUITE PATTERN      (a line of kernels.list)
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1 suite=$2 pattern=$3
home=$PWD/target/kernels
tree=$home/$name
PATH=$PATH:/usr/sbin:/sbin

fail() { printf 'kernel %s: %s\n' "$name" "$*" >&2; exit 1; }

image_of() { find "$tree/boot" -name 'vmlinuz-*' 2>/dev/null | sort -V | tail -n 1; }

# The stamp is made last: a tree without it is a download that broke off.
if [ -e "$tree/.unpacked" ]; then
	image_of
	exit
fi

# The mirror is the one this machine is set up with, so that no address stands
# here; security and backports hang off others and are left out.
mirrors() {
	apt-get indextargets --format '$(REPO_URI) $(SUITE) $(ORIGIN)' 2>/dev/null |
		awk '$3 == "Debian" && $2 !~ /security|updates|backports/ { print $1 }' | sort -u
}
mirror=$(mirrors | head -n 1)
if [ -z "$mirror" ]; then
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	$as_root apt-get -qq update >&2
	mirror=$(mirrors | head -n 1)
fi
[ -n "$mirror" ] || fail "apt knows no mirror of Debian"

# apt with lists and folders of its own: the machine's suite and pins have no
# say, and root is not needed.
state=$home/apt/$suite
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages"
printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
	"$mirror" "$suite" >"$state/sources.list"
: >"$state/status"
options=(
	-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
	-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
	-o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status"
	-o "Dir::Cache=$state/cache" -o Acquire::Languages=none -o Acquire::Retries=3
	-o APT::Sandbox::User=root -o APT::Architecture=amd64 -o APT::Architectures=amd64
)
apt-get -qq "${options[@]}" update >&2 || fail "cannot read the package lists of $suite"

package=$(apt-cache "${options[@]}" pkgnames linux-image- | grep -Ex "$pattern" | sort -V | tail -n 1)
[ -n "$package" ] || fail "no package of $suite matches $pattern"

# Newer kernels come in several packages (linux-binary-*, linux-modules-*).
wanted=("$package")
mapfile -t -O 1 wanted < <(
	apt-cache "${options[@]}" depends --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances "$package" |
		awk '$1 == "Depends:" && $2 ~ /^linux-(image|binary|modules)-/ { print $2 }'
)
printf 'kernel %s: fetching %s\n' "$name" "${wanted[*]}" >&2
rm -f "$state"/packages/*.deb
(cd "$state/packages" && apt-get -qq "${options[@]}" download "${wanted[@]}" >&2) ||
	fail "cannot download ${wanted[*]}"

rm -rf "$tree"
mkdir -p "$tree"
for file in "$state"/packages/*.deb; do dpkg-deb -x "$file" "$tree"; done
rm -f "$state"/packages/*.deb
# Debian 13 on puts modules below usr/lib.
if [ ! -e "$tree/lib/modules" ] && [ -e "$tree/usr/lib/modules" ]; then
	mkdir -p "$tree/lib"
	ln -s ../usr/lib/modules "$tree/lib/modules"
fi
for modules in "$tree"/lib/modules/*; do
	depmod -b "$tree" "$(basename "$modules")"
done
touch "$tree/.unpacked"
image_of
