import { expect, test } from "bun:test";
import { parseBusyboxPackage } from "./busybox.ts";
import { parseKernelPackage } from "./kernel.ts";
import { moduleOrder } from "./modules.ts";

test("parseKernelPackage() finds the package that the meta package depends on", () => {
  const shown = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n" +
    "Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nDescription: x\n";
  expect(parseKernelPackage(shown)).toEqual({
    name: "linux-image-6.1.0-56-cloud-amd64",
    version: "6.1.192-2",
  });
  expect(parseKernelPackage("Package: x\n")).toBeNull();
});

test("moduleOrder() puts each bus's transport between virtio and its devices", () => {
  expect(moduleOrder("mmio").slice(0, 4)).toEqual(["virtio_ring", "virtio", "virtio_mmio", "virtio_blk"]);
  expect(moduleOrder("pci")).not.toContain("virtio_mmio");
  expect(moduleOrder("pci").indexOf("virtio_pci")).toBeLessThan(moduleOrder("pci").indexOf("virtio_blk"));
});

test("parseBusyboxPackage() reads the version", () => {
  expect(parseBusyboxPackage("Package: busybox-static\nVersion: 1:1.35.0-4+b7\nSize: 5\n")).toEqual({
    name: "busybox-static",
    version: "1:1.35.0-4+b7",
  });
});
