import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { takeLock } from "./lock.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-lock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("takeLock() lets one in, names it to the next, and is free again after a kill -9", async () => {
  const script = `import { takeLock } from ${JSON.stringify(join(import.meta.dir, "lock.ts"))};
    await takeLock(${JSON.stringify(folder)}, { interrupt: false, command: "up" });
    console.log("held"); setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  await child.stdout.getReader().read();
  const late: GodwitError = await takeLock(folder, { interrupt: false, command: "up" }).catch((e) => e);
  expect(late.code).toBe("stack.busy");
  expect(late.message).toContain(`pid ${child.pid}`);
  child.kill("SIGKILL");
  await child.exited;
  const lock = await takeLock(folder, { interrupt: false, command: "down" });
  lock.release();
});

test("takeLock() for `down` ends an `up` that is at work", async () => {
  const script = `import { takeLock } from ${JSON.stringify(join(import.meta.dir, "lock.ts"))};
    await takeLock(${JSON.stringify(folder)}, { interrupt: false, command: "up" });
    process.on("SIGTERM", () => process.exit(9)); console.log("held"); setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  await child.stdout.getReader().read();
  const lock = await takeLock(folder, { interrupt: true, command: "down" });
  expect(await child.exited).toBe(9);
  lock.release();
});

test("takeLock() that waited for a `down`, which removes the folder, holds the lock that others see", async () => {
  const first = await takeLock(folder, { interrupt: false, command: "down" });
  const waiting = takeLock(folder, { interrupt: true, command: "down" });
  rmSync(folder, { recursive: true });
  first.release();
  const second = await waiting;
  const third: GodwitError = await takeLock(folder, { interrupt: false, command: "up" }).catch((e) => e);
  expect(third.code).toBe("stack.busy");
  second.release();
});
