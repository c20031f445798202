# Takes a VMM's rights and its view of the host away, then becomes it: `perl enclose.pl ARCH FOLDER UID DEVICES PROGRAM …`.
#
# FOLDER is the skeleton that enclosure.ts made: each file and folder in FOLDER.mounts is bound read-only over its
# place there. Namespaces of its own for mounts, network, IPC and host name; FOLDER as root with the host's mounts let go
# of (a copy of them would keep them busy after the host unmounted them); no capability in any set; a user of its own.
# Perl and not util-linux's unshare, mount, umount and setpriv: six programs take 13 ms, this takes 5, and umount(8) cannot
# let go of the old root where there is no /proc. perl-base is on every Debian. Descriptors from 3 on pass through.
use strict;
use warnings;

my %numbers = (
  x64   => { mount => 165, umount2 => 166, pivot_root => 155, unshare => 272, prctl => 157, mknodat => 259,
             setgroups => 116, setresgid => 119, setresuid => 117, setrlimit => 160 },
  arm64 => { mount => 40, umount2 => 39, pivot_root => 41, unshare => 97, prctl => 167, mknodat => 33,
             setgroups => 159, setresgid => 149, setresuid => 147, setrlimit => 164 },
);
my ($arch, $folder, $uid, $devices, @program) = @ARGV;
$uid += 0;
my $number = $numbers{$arch} or die "Cannot enclose: system calls of $arch are not known\n";

sub call {
  my ($name, @operands) = @_;
  return if syscall($number->{$name}, @operands) >= 0;
  my $why = $!;
  die "Cannot enclose: $name(", join(", ", grep { /^[\w.\/-]+$/ } @operands), "): $why\n";
}
my ($none, $slash, $here) = ("none", "/", ".");
sub bind_tree { my ($from, $to) = @_; call("mount", $from, $to, $none, 0x5000, 0) }     # MS_BIND | MS_REC

call("setrlimit", 4, pack("QQ", 0, 0));                                            # RLIMIT_CORE: it would hold secrets
call("unshare", 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000);               # mounts, network, IPC, host name
call("mount", $none, $slash, $none, 0x44000, 0);                                   # MS_PRIVATE | MS_REC
bind_tree($folder, $folder);
chdir $folder or die "Cannot enclose: chdir($folder): $!\n";
open(my $list, "<", "$folder.mounts") or die "Cannot enclose: $folder.mounts: $!\n";
while (my $line = <$list>) {
  chomp $line;
  my ($from, $to) = split /\t/, $line;
  bind_tree($from, $to);
  call("mount", $none, $to, $none, 0x1000 | 0x20 | 0x7, 0);                        # again, read-only, nosuid, nodev
}
close $list;

# Nodes of its own, since the host's belong to root or to a group.
my ($tmpfs, $dev, $options) = ("tmpfs", "dev", "mode=0755,size=64k,nr_inodes=16");
call("mount", $tmpfs, $dev, $tmpfs, 0x2 | 0x8, $options);                          # nosuid, noexec
for my $device (split /,/, $devices) {
  my $rdev = (stat "/dev/$device")[6];
  defined $rdev or die "Cannot enclose: /dev/$device: $!\n";
  my $node = "dev/$device";
  call("mknodat", -100, $node, 0020600, $rdev);                                    # AT_FDCWD, a character device
  chown $uid, $uid, $node or die "Cannot enclose: chown($node): $!\n";
}

# The old root comes to lie on the new one, and is let go of there: pivot_root(2), "pivot_root(".", ".")".
call("pivot_root", $here, $here);
call("umount2", $here, 2);                                                         # MNT_DETACH
chdir "/" or die "Cannot enclose: chdir(/): $!\n";

for my $capability (0 .. 63) { syscall($number->{prctl}, 24, $capability, 0, 0, 0) >= 0 or last }   # PR_CAPBSET_DROP
call("prctl", 47, 4, 0, 0, 0);                                                     # PR_CAP_AMBIENT_CLEAR_ALL
call("setgroups", 0, 0);
call("setresgid", $uid, $uid, $uid);
call("setresuid", $uid, $uid, $uid);                                               # the other sets go with root
call("prctl", 38, 1, 0, 0, 0);                                                     # PR_SET_NO_NEW_PRIVS
exec { $program[0] } @program or die "Cannot start $program[0]: $!\n";
