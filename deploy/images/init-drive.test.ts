import { expect, test } from "bun:test";
import { join } from "node:path";
import { findInterpreter, parseLibraries } from "./init-drive.ts";
import { testGuest } from "./testbed.ts";

test("parseLibraries() reads paths from ldd, the loader's too", () => {
  const shown = "\tlinux-vdso.so.1 (0x00007f89b33e9000)\n" +
    "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f89b31f5000)\n" +
    "\t/lib64/ld-linux-x86-64.so.2 (0x00007f89b33eb000)\n";
  expect(parseLibraries(shown)).toEqual(["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
});

test("the compiled vm-init names the loader on its own drive", async () => {
  const { initFolder } = await testGuest();
  const head = await Bun.file(join(initFolder, "vm-init")).slice(0, 4_096).bytes();
  const place = findInterpreter(head)!;
  const path = Buffer.from(head.subarray(place.offset, place.offset + place.length)).toString();
  expect(path.replace(/\0+$/, "")).toBe("/.godwit/init/ld.so");
}, 120_000);
