import { expect, test } from "bun:test";
import { optionValue, type Original, planHandRun, quoted, scriptOf } from "./hand-run.ts";

const argv = [
  ...["qemu-system-x86_64", "-name", "godwit-9080e6f3a12b04,process=gw0a1b2c", "-m", "256M"],
  ...[
    "-append",
    "console=ttyS0 quiet",
    "-drive",
    "id=init,file=/g/init.erofs,format=raw,if=none,readonly=on",
  ],
  ...["-add-fd", "fd=3,set=1,opaque=/home/a,,b/9080e6f3a12b04/layer.ext4"],
  ...["-drive", "id=layer,file=/dev/fdset/1,format=raw,if=none,discard=unmap"],
  ...["-drive", "id=config,file=/run/g/run-config.img,format=raw,if=none,readonly=on"],
  ...["-netdev", "tap,id=link,ifname=gw0a1b2ct3,script=no,downscript=no"],
  ...["-device", "virtio-net-device,netdev=link,mac=02:90:80:e6:f3:a1"],
  ...["-chardev", "socket,id=control,path=/run/g/control.sock,server=on,wait=off"],
  ...["-chardev", "file,id=console,path=/home/a,,b/9080e6f3a12b04/console.log,append=on"],
  ...["-chardev", "socket,id=qmp,path=/run/g/qmp.sock,server=on,wait=off"],
];
const original: Original = {
  argv: argv.map((argument) => argument.replaceAll(",,b", "")),
  machineId: "9080e6f3a12b04",
  link: "gw0a1b2ct3",
  gateway: "172.20.16.6/31",
  address: "172.20.16.7",
  mac: "02:90:80:e6:f3:a1",
  hostMac: "06:90:80:e6:f3:a1",
};

test("optionValue() undoes QEMU's doubled commas", () => {
  expect(optionValue(argv, "set=1", "opaque")).toBe("/home/a,b/9080e6f3a12b04/layer.ext4");
  expect(optionValue(argv, "netdev=link", "mac")).toBe("02:90:80:e6:f3:a1");
  expect(() => optionValue(argv, "id=nothing", "file")).toThrow("id=nothing");
});

test("planHandRun() changes names, sockets and the writable layer, and nothing else", () => {
  const plan = planHandRun(original, "/tmp/h", "hand7");
  const changed = plan.argv.filter((argument, i) => argument !== original.argv[i]);
  expect(plan.argv).toHaveLength(original.argv.length);
  expect(changed).toEqual([
    "hand-run",
    "fd=3,set=1,opaque=/tmp/h/layer.ext4",
    "id=config,file=/tmp/h/run-config.img,format=raw,if=none,readonly=on",
    "tap,id=link,ifname=hand7,script=no,downscript=no",
    "socket,id=control,path=/tmp/h/control.sock,server=on,wait=off",
    "file,id=console,path=/tmp/h/console.log,append=on",
    "socket,id=qmp,path=/tmp/h/qmp.sock,server=on,wait=off",
  ]);
});

test("scriptOf() is about ten lines that a shell reads as they were meant", () => {
  const script = scriptOf(original, planHandRun(original, "/tmp/h", "hand7"));
  expect(script.trim().split("\n").length).toBeLessThanOrEqual(10);
  expect(script).toContain("-append 'console=ttyS0 quiet'");
  expect(script).toContain(" 3<>/tmp/h/layer.ext4 4</tmp/h/layer.ext4\n");
  const { exitCode } = Bun.spawnSync(["/bin/sh", "-n"], { stdin: Buffer.from(script) });
  expect(exitCode).toBe(0);
});

test("quoted() leaves plain words and protects the rest", () => {
  expect(["-m", "a b", "it's", "$HOME"].map(quoted)).toEqual(["-m", "'a b'", `'it'\\''s'`, "'$HOME'"]);
});
