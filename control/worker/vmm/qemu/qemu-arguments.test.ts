import { expect, test } from "bun:test";
import { consoleArgument, kernelCommandLine, machineTypeOf, qemuArguments } from "./qemu-arguments.ts";
import { spec } from "../vm-spec.fixture.ts";
import { qemuPaths } from "./qemu-paths.ts";

const guest = {
  kernel_file: "/home/images/vmlinuz",
  initramfs_file: "/home/images/initramfs.gz",
  init_drive_file: "/home/images/init.erofs",
  init_folder: "/home/images/init",
};
const argumentsFor = (change: Partial<typeof spec> = {}, acceleration: "kvm" | "tcg" = "tcg") =>
  qemuArguments({ ...spec, ...change }, guest, qemuPaths({ ...spec, ...change }), acceleration);
const valuesOf = (argv: string[], option: string) => argv.filter((_, i) => argv[i - 1] === option);

test("qemuArguments() attaches the drives in the order of DRIVES, only the layer writable", () => {
  const argv = argumentsFor();
  expect(valuesOf(argv, "-drive")).toEqual([
    "id=init,file=/dev/fdset/5,format=raw,if=none,readonly=on",
    "id=image,file=/dev/fdset/6,format=raw,if=none,readonly=on",
    "id=layer,file=/dev/fdset/4,format=raw,if=none,discard=unmap",
    "id=config,file=/dev/fdset/7,format=raw,if=none,readonly=on",
  ]);
  expect(valuesOf(argv, "-add-fd")).toEqual([
    "fd=5,set=5,opaque=/home/images/init.erofs",
    "fd=6,set=6,opaque=/home/images/sha256-1.erofs",
    "fd=3,set=4,opaque=/home/machines/0123456789abcd/layer.ext4",
    "fd=4,set=4,opaque=/home/machines/0123456789abcd/layer.ext4",
    "fd=7,set=7,opaque=/run/godwit-1/machines/0123456789abcd/run-config.img",
    "fd=8,set=8,opaque=/home/machines/0123456789abcd/console.log",
  ]);
  expect(valuesOf(argv, "-device").slice(0, 4)).toEqual([
    "virtio-blk-device,drive=init",
    "virtio-blk-device,drive=image",
    "virtio-blk-device,drive=layer",
    "virtio-blk-device,drive=config",
  ]);
});

test("qemuArguments() opens nothing by a path of the host", () => {
  const named = argumentsFor().filter((argument) => argument.includes("/") && !argument.includes("opaque="));
  const paths = named.map((argument) => argument.slice(argument.indexOf("/")).split(",")[0]!);
  expect(paths.filter((path) => !path.startsWith("/dev/fdset/"))).toEqual(["/kernel", "/initramfs"]);
});

test("qemuArguments() names the machine, its stack and its folder", () => {
  const argv = argumentsFor();
  expect(valuesOf(argv, "-name")).toEqual(["godwit-0123456789abcd,process=gw00abcd"]);
  expect(argv).toContain(consoleArgument(spec.folder));
});

test("qemuArguments() gives the guest its tap and nothing where it has no link", () => {
  expect(valuesOf(argumentsFor(), "-netdev")).toEqual(["tap,id=link,fd=11"]);
  expect(valuesOf(argumentsFor(), "-device")).toContain(
    "virtio-net-device,netdev=link,mac=02:01:23:45:67:89",
  );
  const bare = qemuArguments({ ...spec, link: null }, guest, qemuPaths(spec), "tcg");
  expect(bare.join(" ")).not.toContain("net");
});

test("qemuArguments() turns to q35 and PCI devices from the second retry on", () => {
  expect([0, 1, 2, 3].map(machineTypeOf)).toEqual(["microvm", "microvm", "q35", "q35"]);
  const argv = argumentsFor({ attempt: 2 });
  expect(valuesOf(argv, "-machine")).toEqual(["q35"]);
  expect(argv.join(" ")).not.toContain("virtio-blk-device");
  expect(valuesOf(argv, "-device")).toContain("virtio-net-pci,netdev=link,mac=02:01:23:45:67:89,romfile=");
});

test("qemuArguments() emulates a known clock for microvm under TCG alone", () => {
  expect(kernelCommandLine("microvm", "tcg")).toContain("tsc=unstable");
  expect(kernelCommandLine("q35", "tcg")).not.toContain("tsc");
  expect(kernelCommandLine("microvm", "kvm")).not.toContain("tsc");
  expect(valuesOf(argumentsFor({}, "kvm"), "-cpu")).toEqual(["host"]);
});

test("qemuArguments() doubles commas in paths, so that none is read as an option", () => {
  const argv = argumentsFor({ layerFile: "/odd,readonly=on/layer" });
  expect(valuesOf(argv, "-add-fd")).toContain("fd=3,set=4,opaque=/odd,,readonly=on/layer");
});

test("qemuPaths() refuses a run folder whose sockets cannot be bound", () => {
  expect(() => qemuPaths({ folder: "/f", runFolder: `/run/${"x".repeat(100)}` })).toThrow("107 bytes");
});
