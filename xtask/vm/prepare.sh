#!/bin/bash
# Fetches a Debian kernel and makes of it what the VM boots; nothing is installed on this machine.
#
#   prepare.sh SUITE DIR     the newest linux-image-amd64 of SUITE, into DIR:
#
#   DIR/vmlinux              the kernel, decompressed
#   DIR/initrd               an initramfs that hands over to this machine's own files (init.sh)
#   DIR/modules              what the tests may modprobe, as /lib/modules
#   DIR/release              what `uname -r` will say
set -euo pipefail
suite=$1 dir=$2 here=$(dirname "$0")

# 9p and virtio carry the machine's files into the guest; the rest is what the tests meet.
modules="9p 9pnet_virtio virtio_pci virtio_console overlay
    l2tp_core l2tp_netlink l2tp_eth l2tp_ip l2tp_ip6 l2tp_ppp l2tp_debugfs
    xfrm_user xfrm_algo esp4 esp6 authenc cbc gcm hmac sha256_generic aes_generic echainiv seqiv
    veth bridge br_netfilter dummy tun ifb 8021q macvlan nlmon vxlan geneve ip_gre
    sch_ingress sch_netem sch_tbf sch_htb sch_fq_codel sch_fq
    cls_bpf cls_flower cls_matchall cls_u32 act_bpf act_mirred
    pktgen udp_diag tcp_diag inet_diag af_packet_diag"

# Hardware that no virtual machine has; leaving it packed saves most of the time and space.
no_hardware=(--exclude='*/kernel/sound' --exclude='*/kernel/drivers/'{gpu,media,scsi,infiniband,usb,iio}
    --exclude='*/kernel/drivers/net/'{wireless,ethernet})

main() {
    rm -rf "$dir"
    mkdir -p "$dir/work"
    unpack_kernel
    release=$(ls "$dir/work/root/lib/modules")
    extract_vmlinux "$(find "$dir/work/root/" -name 'vmlinuz*' -print -quit)" >"$dir/vmlinux"
    gather_modules
    make_initramfs
    rm -rf "$dir/work"
    echo "$release" >"$dir/release"
}

# A private set of apt lists: this machine's own mirror and keys, but the wanted suite alone.
apt_options() {
    local apt=$dir/work/apt mirror
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p')
    mirror=${mirror%%$'\n'*}
    [ -n "$mirror" ] || { echo "apt on this machine knows no Debian mirror" >&2; exit 1; }
    mkdir -p "$apt/lists/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    options=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt" -o APT::Sandbox::User="$(id -un)" -qq)
}

# linux-image-amd64 depends on the kernel of the day, and that (since 7.x) on its parts.
unpack_kernel() {
    local image parts package root=$dir/work/root
    apt_options
    apt-get "${options[@]}" update
    image=$(depends linux-image-amd64 'linux-image-[0-9]')
    parts=$(depends "$image" 'linux-\(base\|binary\|modules\)-[0-9]')
    mkdir -p "$root/usr/lib"
    ln -s usr/lib "$root/lib"
    cd "$dir/work"
    # shellcheck disable=SC2086  # several packages, one word each
    apt-get "${options[@]}" download $image $parts
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink "${no_hardware[@]}"
    done
    cd - >/dev/null
}

depends() {
    apt-cache "${options[@]}" depends "$1" | sed -n "s/.*Depends: \($2.*\)/\1/p"
}

# The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset and
# payload_length, the last four bytes being its unpacked size). Emulated, the guest would need seconds for it.
extract_vmlinux() {
    local offset length
    offset=$(((1 + $(number 1 497 "$1")) * 512 + $(number 4 584 "$1")))
    length=$(($(number 4 588 "$1") - 4))
    dd if="$1" of="$dir/work/payload" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none
    xz -dcq --single-stream "$dir/work/payload" 2>/dev/null || zstd -dcq "$dir/work/payload"
}

number() {
    od -An -tu"$1" -j"$2" -N"$1" "$3" | tr -d ' '
}

# The wanted modules and what they need, decompressed so that any modprobe can load them.
gather_modules() {
    local root=$dir/work/root out=$dir/modules/lib/modules/$release module file name
    mkdir -p "$out"
    depmod -b "$root" "$release"
    for module in $modules; do
        # Built in, or not in this kernel: nothing to copy. A test that misses one says so.
        modprobe -d "$root" -S "$release" --show-depends "$module" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p' || true
    done | sort -u | while read -r file; do
        name=$out/${file##*"/$release/"}
        mkdir -p "$(dirname "$name")"
        case $file in
            *.xz) xz -dc "$file" >"${name%.xz}" ;;
            *.zst) zstd -dcq "$file" >"${name%.zst}" ;;
            *) cp "$file" "$name" ;;
        esac
    done
    cp "$root/lib/modules/$release/"modules.{builtin,builtin.modinfo,order} "$out"
    depmod -b "$dir/modules" "$release"
}

make_initramfs() {
    local root=$dir/work/initramfs applet
    mkdir -p "$root"/{bin,proc,sys,dev,mnt}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in sh mount mkdir grep modprobe switch_root poweroff; do
        ln -s busybox "$root/bin/$applet"
    done
    ln -s bin "$root/sbin"
    cp -r "$dir/modules/lib" "$root/lib"
    install -m 755 "$here/init.sh" "$root/init"
    (cd "$root" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$dir/initrd"
}

main
