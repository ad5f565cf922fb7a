#!/bin/bash
# The guest's second stage, over the host's files: sets up what a running system has, runs the script that lies in
# $out/.vm, leaves its exit status there, and switches off.
#
# $out and $modules come from the kernel's command line.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount --bind "$modules" /lib/modules
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing 2>/dev/null # comes with debugfs on some kernels
hostname guest
ip link set lo up

# The port that carries the output may appear a moment after its driver.
for _ in {1..50}; do
    [ -e /dev/vport0p1 ] && break
    sleep 0.1
done
setsid -w bash "$out/.vm/script" </dev/null >/dev/vport0p1 2>&1
echo $? >"$out/.vm/status"
sync
echo o >/proc/sysrq-trigger
sleep 10
