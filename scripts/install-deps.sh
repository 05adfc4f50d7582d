#!/bin/bash
# Installs what demo and tests need and this machine lacks, from the
# distribution's own packages. When all is there it does and asks nothing.
#   install-deps.sh ['command package']...   these rows instead of the table below
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# command  package
#   qemu-storage-daemon is in qemu-system-common on Debian 12, which
#   qemu-system-x86 brings, and in qemu-utils on Debian 13.
table='
qemu-system-x86_64   qemu-system-x86
qemu-img             qemu-utils
qemu-nbd             qemu-utils
qemu-storage-daemon  qemu-system-x86,qemu-utils
mke2fs               e2fsprogs
sfdisk               fdisk
curl                 curl
gcc                  gcc
flock                util-linux
gzip                 gzip
git                  git
'

[ $# -eq 0 ] || table=$(printf '%s\n' "$@")

declare -A wanted=()
while read -r command packages; do
	[ -n "$command" ] || continue
	command -v "$command" >/dev/null && continue
	for package in ${packages//,/ }; do wanted[$package]=1; done
done <<<"$table"
# The race detector links against the C library, and downloads need roots of trust.
[ -e /usr/include/stdlib.h ] || wanted[libc6-dev]=1
[ -e /etc/ssl/certs/ca-certificates.crt ] || wanted[ca-certificates]=1
# Debian keeps the server's programs out of every PATH.
[ $# -gt 0 ] || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || wanted[postgresql]=1
[ "${#wanted[@]}" -gt 0 ] || exit 0

mapfile -t packages < <(printf '%s\n' "${!wanted[@]}" | sort)
install=(apt-get install -y --no-install-recommends "${packages[@]}")

refuse() {
	echo "Missing packages: ${packages[*]}. Install them as root:" >&2
	echo "  apt-get update && ${install[*]}" >&2
	exit 1
}

command -v apt-get >/dev/null || {
	echo "Missing: ${packages[*]} (names of Debian packages), and there is no apt-get to install them" >&2
	exit 1
}
root=(env)
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || refuse
	root=(sudo -n env)
fi
root+=(DEBIAN_FRONTEND=noninteractive)

mkdir -p build
log=build/install-deps.log
echo "installing ${packages[*]} (about 80 MB when all are missing; log in $log)"
run() { "${root[@]}" "$@" >>"$log" 2>&1 </dev/null; }
: >"$log"
# The lists are fetched only when they are absent or too old to serve.
if apt-get install -s "${packages[@]}" >/dev/null 2>&1 && run "${install[@]}"; then
	exit 0
fi
if ! { run apt-get update && run "${install[@]}"; }; then
	tail -n 20 "$log" >&2
	refuse
fi
