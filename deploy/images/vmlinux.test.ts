import { expect, test } from "bun:test";
import { testGuest } from "./testbed.ts";
import { extractVmlinux } from "./vmlinux.ts";

test("extractVmlinux() finds the ELF kernel in Debian's vmlinuz", async () => {
  const { kernelFile, vmlinuxFile } = await testGuest();
  const vmlinux = extractVmlinux(await Bun.file(kernelFile).bytes(), kernelFile);
  expect(Buffer.from(vmlinux.subarray(0, 5)).toString("latin1")).toBe("\x7fELF\x02");
  expect(vmlinux.length).toBe(Bun.file(vmlinuxFile).size);
  expect(vmlinux.length).toBeGreaterThan(20_000_000);
}, 120_000);

test("extractVmlinux() says what is wrong with a file that is no kernel", () => {
  expect(() => extractVmlinux(new Uint8Array(4_096), "/x")).toThrow(
    "Cannot extract vmlinux from /x: it is no x86 bzImage",
  );
  const empty = new Uint8Array(4_096);
  empty[0x1f1] = 1;
  empty.set(Buffer.from("HdrS"), 0x202);
  new DataView(empty.buffer).setUint32(0x24c, 64, true);
  expect(() => extractVmlinux(empty, "/x")).toThrow("its compression (magic 0x0) is none of lz4, zstd, gzip");
});
