#!/bin/busybox sh
# The stage before vm-init, in the initramfs: Bun needs /proc and /dev, and lies on a drive that needs modules.
# What is missing is said on the console with the mark of control/contract/guest-limits.ts; then the VM ends.
B=/bin/busybox
fail() {
  $B echo "godwit-boot-failure: stage0: $1"
  $B reboot -f
}
$B mount -t proc proc /proc || fail "Cannot mount proc on /proc"
$B mount -t sysfs sys /sys || fail "Cannot mount sysfs on /sys"
$B mount -t devtmpfs dev /dev || fail "Cannot mount devtmpfs on /dev"
# microvm shows its devices over virtio-mmio and has no PCI; q35 the other way round.
bus=mmio
[ -e /sys/bus/pci/devices/0000:00:00.0 ] && bus=pci
load() {
  for module in $($B cat /modules/order.$1); do
    $B insmod /modules/$module.ko || fail "Cannot load the kernel module $module ($1)"
  done
}
load $bus
# Entropy, balloon, vsock: where the VMM gives such a device.
for device in /sys/bus/virtio/devices/*/device; do
  read -r number <$device
  [ -e /modules/order.$number ] && load $number
done
[ -b /dev/vda ] || fail "Cannot find the init drive /dev/vda: met $($B ls /sys/block | $B tr '\n' ' ')($bus)"
$B mount -t erofs -o ro /dev/vda /.godwit/init || fail "Cannot mount the init drive /dev/vda as erofs"
[ -x /.godwit/init/vm-init ] || fail "Cannot find vm-init on the init drive /dev/vda"
# In a cgroup of its own from its first page on, vm-init's code is charged to it, and can be kept in memory by that.
cgroups=/sys/fs/cgroup
$B mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 $cgroups || fail "Cannot mount cgroup2 on $cgroups"
{ $B mkdir $cgroups/init && echo "+memory +pids" >$cgroups/cgroup.subtree_control &&
  echo 0 >$cgroups/init/cgroup.procs; } || fail "Cannot make the cgroup $cgroups/init"
read -r uptime idle </proc/uptime
$B echo "godwit-stage0: vm-init at $uptime s ($bus)"
# The control port's reads block a thread of Bun's pool each; a guest with one CPU would have too few.
export LD_LIBRARY_PATH=/.godwit/init/lib UV_THREADPOOL_SIZE=4
# PID 1 has no loop hot enough to pay for machine code of its own: 3 to 5 MB, and the compilers' pages.
export BUN_JSC_useBaselineJIT=0
exec /.godwit/init/vm-init
fail "Cannot execute /.godwit/init/vm-init"
