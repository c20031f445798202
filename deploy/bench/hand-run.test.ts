import { expect, test } from "bun:test";
import { optionValue, type Original, planHandRun, quoted, scriptOf } from "./hand-run.ts";

const argv = [
  ...["qemu-system-x86_64", "-name", "godwit-9080e6f3a12b04,process=gw0a1b2c", "-m", "256M"],
  ...["-kernel", "/kernel", "-initrd", "/initramfs", "-append", "console=ttyS0 quiet"],
  ...["-add-fd", "fd=5,set=5,opaque=/g/init.erofs"],
  ...["-drive", "id=init,file=/dev/fdset/5,format=raw,if=none,readonly=on"],
  ...["-add-fd", "fd=3,set=4,opaque=/home/a,,b/9080e6f3a12b04/layer.ext4"],
  ...["-add-fd", "fd=4,set=4,opaque=/home/a,,b/9080e6f3a12b04/layer.ext4"],
  ...["-drive", "id=layer,file=/dev/fdset/4,format=raw,if=none,discard=unmap"],
  ...["-add-fd", "fd=7,set=7,opaque=/run/g/run-config.img"],
  ...["-drive", "id=config,file=/dev/fdset/7,format=raw,if=none,readonly=on"],
  ...["-netdev", "tap,id=link,fd=11"],
  ...["-device", "virtio-net-device,netdev=link,mac=02:90:80:e6:f3:a1"],
  ...["-chardev", "socket,id=control,fd=9,server=on,wait=off"],
  ...["-add-fd", "fd=8,set=8,opaque=/home/a,,b/9080e6f3a12b04/console.log"],
  ...["-chardev", "file,id=console,path=/dev/fdset/8,append=on"],
  ...["-chardev", "socket,id=qmp,fd=10,server=on,wait=off"],
];
const original: Original = {
  argv: argv.map((argument) => argument.replaceAll(",,b", "")),
  machineId: "9080e6f3a12b04",
  rootFiles: new Map([["/kernel", "/g/vmlinuz"], ["/initramfs", "/g/initramfs.cpio"]]),
  gateway: "172.20.16.6/31",
  address: "172.20.16.7",
  mac: "02:90:80:e6:f3:a1",
  hostMac: "06:90:80:e6:f3:a1",
};

test("optionValue() undoes QEMU's doubled commas", () => {
  expect(optionValue(argv, "set=4", "opaque")).toBe("/home/a,b/9080e6f3a12b04/layer.ext4");
  expect(optionValue(argv, "netdev=link", "mac")).toBe("02:90:80:e6:f3:a1");
  expect(() => optionValue(argv, "id=nothing", "file")).toThrow("id=nothing");
});

test("planHandRun() names files, with other names, sockets and another writable layer, and changes nothing else", () => {
  const plan = planHandRun(original, "/tmp/h", "hand7");
  expect(plan.argv).toEqual([
    ...["qemu-system-x86_64", "-name", "hand-run", "-m", "256M"],
    ...["-kernel", "/g/vmlinuz", "-initrd", "/g/initramfs.cpio", "-append", "console=ttyS0 quiet"],
    ...["-drive", "id=init,file=/g/init.erofs,format=raw,if=none,readonly=on"],
    ...["-drive", "id=layer,file=/tmp/h/layer.ext4,format=raw,if=none,discard=unmap"],
    ...["-drive", "id=config,file=/tmp/h/run-config.img,format=raw,if=none,readonly=on"],
    ...["-netdev", "tap,id=link,ifname=hand7,script=no,downscript=no"],
    ...["-device", "virtio-net-device,netdev=link,mac=02:90:80:e6:f3:a1"],
    ...["-chardev", "socket,id=control,path=/tmp/h/control.sock,server=on,wait=off"],
    ...["-chardev", "file,id=console,path=/tmp/h/console.log,append=on"],
    ...["-chardev", "socket,id=qmp,path=/tmp/h/qmp.sock,server=on,wait=off"],
  ]);
  expect(plan).toMatchObject({
    layerFrom: "/home/a/9080e6f3a12b04/layer.ext4",
    configFrom: "/run/g/run-config.img",
  });
});

test("scriptOf() is about ten lines that a shell reads as they were meant", () => {
  const script = scriptOf(original, planHandRun(original, "/tmp/h", "hand7"));
  expect(script.trim().split("\n").length).toBeLessThanOrEqual(10);
  expect(script).toContain("-append 'console=ttyS0 quiet'");
  const { exitCode } = Bun.spawnSync(["/bin/sh", "-n"], { stdin: Buffer.from(script) });
  expect(exitCode).toBe(0);
});

test("quoted() leaves plain words and protects the rest", () => {
  expect(["-m", "a b", "it's", "$HOME"].map(quoted)).toEqual(["-m", "'a b'", `'it'\\''s'`, "'$HOME'"]);
});
