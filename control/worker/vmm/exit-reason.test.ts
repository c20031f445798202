import { expect, test } from "bun:test";
import { exitReason, type Remains } from "./exit-reason.ts";

const quiet: Remains = { console: "hello\r\n", vmmStatus: 0, vmmOutput: "", event: "guest-reset" };

test("exitReason() has nothing to say about a guest that rebooted itself", () => {
  expect(exitReason(quiet)).toBeNull();
});

test("exitReason() gives the step that failed before all else", () => {
  const console =
    "one\r\ngodwit-boot-failure: spawn: /bin/app: no such file\r\nKernel panic - not syncing: x\r\n";
  expect(exitReason({ ...quiet, console, vmmStatus: 1 })).toBe("spawn: /bin/app: no such file");
});

test("exitReason() finds the kernel's panic on the console", () => {
  const console = "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n[    1.3] CPU: 0";
  expect(exitReason({ ...quiet, console })).toBe("The guest's kernel panicked: VFS: Unable to mount root fs");
});

test("exitReason() gives the VMM's last words when it failed", () => {
  expect(exitReason({ ...quiet, vmmStatus: 1, vmmOutput: "qemu: out of luck\n" }))
    .toBe("The VMM ended with status 1: qemu: out of luck");
  expect(exitReason({ ...quiet, vmmStatus: 137 })).toContain("out of memory");
  expect(exitReason({ ...quiet, vmmStatus: null, event: "host-signal" })).toContain("signal");
});
