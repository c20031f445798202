#!/bin/busybox sh
# The peer of vm-init: a shell script as PID 1 that brings up the same machine, by the book and without a control API.
# What the run configuration tells vm-init stands in it. The bench puts it in the initramfs in place of stage 0.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
bus=mmio
[ -e /sys/bus/pci/devices/0000:00:00.0 ] && bus=pci
for module in $($B cat /modules/order.$bus); do $B insmod /modules/$module.ko; done

$B mkdir -p /dev/pts /dev/mqueue /dev/shm /dev/hugepages /run /sys/fs/cgroup /image /layer /newroot
$B mount -t devpts -o nosuid,noexec,mode=0620,gid=5,ptmxmode=0666 devpts /dev/pts
$B mount -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue
$B mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm
$B mount -t hugetlbfs -o nosuid,nodev,mode=1777 hugetlbfs /dev/hugepages
$B mount -t tmpfs -o nosuid,nodev,mode=0755 run /run
$B mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
$B mount -t binfmt_misc -o nosuid,nodev,noexec binfmt_misc /proc/sys/fs/binfmt_misc
$B ln -s /proc/self/fd /dev/fd
$B ln -s /proc/self/fd/0 /dev/stdin
$B ln -s /proc/self/fd/1 /dev/stdout
$B ln -s /proc/self/fd/2 /dev/stderr

$B mount -t erofs -o ro /dev/vdb /image
$B mount -t ext4 -o noatime /dev/vdc /layer
$B mkdir -p /layer/upper /layer/work
$B mount -t overlay -o lowerdir=/image,upperdir=/layer/upper,workdir=/layer/work overlay /newroot

cat_init() {
  $B cat <<'END'
#!/bin/busybox sh
B=/bin/busybox
$B ip link set lo up
$B ip link set eth0 mtu 1420 up
$B ip addr add 10.0.2.15/31 dev eth0
$B ip addr add fd00::15/64 dev eth0
$B ip route add default via 10.0.2.2 dev eth0 onlink
$B hostname 00000000000001
echo 00000000000001 >/etc/hostname
echo "127.0.0.1 localhost" >/etc/hosts
echo "10.0.2.15 00000000000001" >>/etc/hosts
echo "nameserver 10.0.2.3" >/etc/resolv.conf
echo core.%p >/proc/sys/kernel/core_pattern
ulimit -n 10240
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
$B mkdir -p /sys/fs/cgroup/user/app
echo "+memory +pids" >/sys/fs/cgroup/user/cgroup.subtree_control
echo 167772160 >/sys/fs/cgroup/user/app/memory.max
echo 1024 >/sys/fs/cgroup/user/app/pids.max
echo 0 >/sys/fs/cgroup/user/app/cgroup.procs
$B setsid /bin/app </dev/null &
echo 0 >/sys/fs/cgroup/cgroup.procs
# Once the app has measured: what one start of Bun takes here, from the exec to its first statement.
until [ -e /run/measured ]; do $B sleep 0.1; done
$B mkdir -p /.godwit/init
$B mount -t erofs -o ro /dev/vde /.godwit/init
read -r up idle </proc/uptime
echo "godwit-bench: bun_exec_s=$up" >/dev/ttyS0
LD_LIBRARY_PATH=/.godwit/init/lib /.godwit/init/vm-init >/dev/ttyS0
while wait; do $B sleep 1; done
END
}
cat_init >/newroot/init
$B chmod 755 /newroot/init
for folder in proc sys dev run; do
  $B mkdir -p /newroot/$folder
  $B mount --move /$folder /newroot/$folder
done
exec $B switch_root /newroot /init
