#!/bin/busybox sh
# The guest's first process: prepares what the tests need, runs them, prints one verdict line
# and powers off. `xtask/src/vm/qemu.rs` reads the lines that begin with SLUICE-VM.
# The machine's own tools come first, busybox stands in for the rest.
export PATH=/usr/bin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
hostname sluice-vm

for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "SLUICE-VM-NOTE: cannot load $module"
done

ip link set lo up
ulimit -n 65536
echo 1 > /proc/sys/net/ipv4/ip_forward

echo "SLUICE-VM-START: Linux $(uname -r)"
cd /tmp
. /etc/sluice-vm.env
eval "set -- $SLUICE_VM_ARGS"
{ /bin/sluice-vm-tests "$@" 2>&1; echo $? > /run/status; } | tee /run/output
status=$(cat /run/status)

# What the kernel complained about does not reach a quiet console.
complaints='BUG:|WARNING:|Oops|general protection fault|possible recursive locking'
first=$(dmesg | grep -m 1 -E "$complaints")
if [ -n "$first" ]; then
    echo "SLUICE-VM-SPLAT: $first"
    dmesg | grep -E -A 40 "$complaints" | head -n 200
fi
result=$(grep 'test result: ' /run/output | tail -n 1)
if [ -n "$result" ]; then
    echo "SLUICE-VM-VERDICT: ${result#*test result: } exit=$status"
else
    echo "SLUICE-VM-NOTE: the tests ended with status $status and no result"
fi
sync
poweroff -f
