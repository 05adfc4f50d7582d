#!/bin/bash
# Builds the test guest: a tiny Linux in OUTDIR as vmlinuz, initrd.img and
# root.qcow2, from Debian's own packages, without root and in seconds.
#
#   test/guest/build.sh OUTDIR
#
# Needs: apt-get install e2fsprogs qemu-utils, and Go. The kernel, a static
# busybox and the guest agent are downloaded and unpacked, never installed:
# installing a kernel would drag in an initramfs generator and boot loader
# hooks. The agent's libraries are this machine's: QEMU brings them. OUTDIR/cache
# keeps the downloads, OUTDIR/stamp makes a second run instant.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # mke2fs, for users who are not root

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?usage: build.sh OUTDIR}
root_size=256M
# Everything a virtio guest on q35 needs; what these depend on is found below.
modules="virtio_pci virtio_blk virtio_net virtio_console virtio-rng button evdev ext4"

die() { echo "test guest: $*" >&2; exit 1; }

missing=
for tool in mke2fs:e2fsprogs qemu-img:qemu-utils dpkg-deb:dpkg apt-get:apt flock:util-linux ldd:libc-bin; do
	command -v "${tool%%:*}" >/dev/null || missing+=" ${tool##*:}"
done
[ -z "$missing" ] || die "missing tools; run: apt-get install --no-install-recommends$missing"
command -v go >/dev/null || die "missing go; see https://go.dev/dl"
[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 hosts can build the guest"

mkdir -p "$out"
out=$(cd "$out" && pwd)
echo "*" >"$out/.gitignore"
# One builder at a time: parallel test binaries share OUTDIR.
exec 9>"$out/.lock"
flock 9

distribution=$(. /etc/os-release && echo "$ID-${VERSION_ID:-rolling}")
key=$(
	cd "$here"
	{ find . -type f ! -name '*_test.go' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
	  echo "$distribution $(go env GOVERSION)"; } | sha256sum | cut -d' ' -f1
)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$key" ] &&
	[ -s "$out/vmlinuz" ] && [ -s "$out/initrd.img" ] && [ -s "$out/root.qcow2" ]; then
	exit 0
fi
rm -f "$out/stamp"

# A build that was cut off leaves its tmp directory; the lock says it is dead.
rm -rf "$out"/tmp.*
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# --- packages ---------------------------------------------------------------

cache=$out/cache/$distribution
mkdir -p "$cache"
apt_options=()

# The system's package lists may be absent or too old, and only root may
# refresh them: keep lists of our own beside the downloads then.
private_lists() {
	mkdir -p "$cache/apt/state/lists/partial" "$cache/apt/cache/archives/partial"
	apt_options=(-o "Dir::State=$cache/apt/state" -o "Dir::Cache=$cache/apt/cache"
		-o "Dir::State::status=/var/lib/dpkg/status")
	apt-get "${apt_options[@]}" -q update >"$tmp/apt.log" 2>&1 ||
		{ cat "$tmp/apt.log" >&2; die "apt-get update failed"; }
}

kernel_package() { # the package that the metapackage stands for
	apt-cache "${apt_options[@]}" depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -n 1
}

download() { # kernel, busybox and guest agent into the cache
	local kernel
	kernel=$(kernel_package)
	[ -n "$kernel" ] || return 1
	(cd "$tmp" && apt-get "${apt_options[@]}" -q download "$kernel" busybox-static qemu-guest-agent >apt.log 2>&1) || return 1
	mv "$tmp"/*.deb "$cache/"
}

have_packages() {
	ls "$cache"/linux-image-*.deb "$cache"/busybox-static_*.deb "$cache"/qemu-guest-agent_*.deb >/dev/null 2>&1
}

if ! have_packages; then
	rm -f "$cache"/*.deb
	download || { private_lists; download; } ||
		{ cat "$tmp/apt.log" >&2; die "no linux-image-cloud-amd64, busybox-static and qemu-guest-agent from apt (needs Debian 12 or 13)"; }
fi
for deb in "$cache"/*.deb; do
	dpkg-deb -x "$deb" "$tmp/packages" || { rm -f "$deb"; die "damaged download removed; run again"; }
done
busybox=$(find "$tmp/packages" -type f -path '*/bin/busybox' | head -n 1)
kernel=$(find "$tmp/packages" -type f -name 'vmlinuz-*' | head -n 1)
tree=$(find "$tmp/packages" -type d -path '*/modules/*/kernel' | head -n 1)
qemu_ga=$(find "$tmp/packages" -type f -path '*/sbin/qemu-ga' | head -n 1)
[ -n "$busybox" ] && [ -n "$kernel" ] && [ -n "$tree" ] && [ -n "$qemu_ga" ] ||
	die "packages lack busybox, kernel, modules or the guest agent"

# --- initrd: busybox and the modules, in the order in which they load --------

initrd=$tmp/initrd
mkdir -p "$initrd"/{bin,dev,proc,sys,mnt,modules}
cp "$busybox" "$initrd/bin/busybox"
cp "$here/initrd-init" "$initrd/init"
chmod 755 "$initrd/init"
ordinal=100

add_module() { # with what it depends on first, as its own .modinfo says
	local name=$1 pattern file plain dependency
	pattern=$(echo "$name" | sed 's/[-_]/[-_]/g')
	compgen -G "$initrd/modules/*-$pattern.ko" >/dev/null && return 0
	file=$(find "$tree" -name "$pattern.ko" -o -name "$pattern.ko.xz" | head -n 1)
	if [ -z "$file" ]; then
		grep -q "/$pattern\.ko" "$tree/../modules.builtin" && return 0
		die "the kernel has no module $name"
	fi
	plain=$tmp/$name.ko
	case $file in
	*.xz) "$busybox" xz -dc "$file" >"$plain" ;;
	*) cp "$file" "$plain" ;;
	esac
	for dependency in $(tr '\0' '\n' <"$plain" | sed -n 's/^depends=//p' | tr ',' ' '); do
		add_module "$dependency"
	done
	mv "$plain" "$initrd/modules/$ordinal-$name.ko"
	ordinal=$((ordinal + 1))
}
for module in $modules; do add_module "$module"; done

(cd "$initrd" && find . | LC_ALL=C sort | "$busybox" cpio -o -H newc 2>"$tmp/cpio.log") | gzip -1n >"$tmp/initrd.img"

# --- root: busybox, init, the test's agent and QEMU's guest agent ---------------

root=$tmp/root
mkdir -p "$root"/{bin,sbin,lib,lib64,dev,proc,sys,tmp,data}
cp "$busybox" "$root/bin/busybox"
for applet in sh ls cat; do ln -s busybox "$root/bin/$applet"; done
cp "$here/root-init" "$root/sbin/init"
cp "$here/freeze-hook" "$root/sbin/freeze-hook"
chmod 755 "$root/sbin/init" "$root/sbin/freeze-hook"
cp "$qemu_ga" "$root/sbin/qemu-ga"
libraries=$(ldd "$qemu_ga")
case $libraries in
*"not found"*) die "the guest agent lacks libraries, which qemu-system-x86 would bring:
$libraries" ;;
esac
for library in $(sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p' <<<"$libraries"); do
	case $library in
	*/ld-linux-*) cp -L "$library" "$root/lib64/" ;; # the path that programs name
	*) cp -L "$library" "$root/lib/" ;;
	esac
done
(cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$root/bin/agent" ./agent)
find "$root" "$initrd" -exec touch -h -d @0 {} +

E2FSPROGS_FAKE_TIME=1 mke2fs -q -t ext4 -b 4096 -N 4096 -L root -m 0 -U 00000000-0000-0000-0000-000000000001 \
	-E lazy_itable_init=0,root_owner=0:0,hash_seed=00000000-0000-0000-0000-000000000002 \
	-d "$root" "$tmp/root.raw" "$root_size" >"$tmp/mke2fs.log"
qemu-img convert -f raw -O qcow2 "$tmp/root.raw" "$tmp/root.qcow2"

cp "$kernel" "$tmp/vmlinuz"
mv -f "$tmp/vmlinuz" "$tmp/initrd.img" "$tmp/root.qcow2" "$out/"
echo "$key" >"$tmp/stamp"
mv -f "$tmp/stamp" "$out/stamp"
