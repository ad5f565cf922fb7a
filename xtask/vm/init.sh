#!/bin/sh
# The guest's first process, in the initramfs: puts a writable layer over the host's files, and goes there.
#
# Two 9p shares come in: `host`, the host's root, read-only, and `out`, where results go. Writes to anything but
# `out` land in memory and vanish with the guest.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

# Asked only whether a guest comes this far, by `cargo xtask`, to see if KVM works.
if grep -q l2xdp.probe /proc/cmdline; then
    echo "l2xdp: the guest is up"
    poweroff -f
fi

die() {
    echo "l2xdp: $1"
    poweroff -f
}

for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
    modprobe "$module" 2>/dev/null
done
mkdir -p /mnt/host /mnt/memory /mnt/root
share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$share,cache=loose,ro" host /mnt/host || die "cannot mount the host's files"
mount -t tmpfs memory /mnt/memory
mkdir /mnt/memory/upper /mnt/memory/work
mount -t overlay -o lowerdir=/mnt/host,upperdir=/mnt/memory/upper,workdir=/mnt/memory/work overlay /mnt/root ||
    die "cannot put a writable layer over the host's files"
for dir in proc sys dev; do
    mount --move "/$dir" "/mnt/root/$dir"
done
mount -t tmpfs run /mnt/root/run

# $out comes from the kernel's command line: the share is seen at the path it has on the host.
mount -t 9p -o "$share,cache=none" out "/mnt/root$out" || die "cannot mount $out"
exec switch_root /mnt/root /bin/bash "$out/.vm/guest.sh"
