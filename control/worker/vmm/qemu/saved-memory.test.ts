import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INCOMING } from "./qemu-arguments.ts";
import { mismatch, type Origin, originOf } from "./saved-memory.ts";

const ID = "0123456789abcd";
const PLAN = ["-m", "256M", "-machine", "q35"];
let folder: string;
let layer: string;
/** Stands for a QEMU: what counts is its arguments and the files that it holds open. */
let holder: Bun.Subprocess<"pipe", "pipe", "inherit">;
let origin: Origin;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "godwit-origin-"));
  layer = join(folder, "layer");
  writeFileSync(layer, "blocks");
  const script = `exec 8<"${layer}"; echo open; read _`;
  const ignored = ["-c", script];
  holder = Bun.spawn(["bash", ...ignored, ...PLAN, ...INCOMING], { stdin: "pipe", stdout: "pipe" });
  await holder.stdout.getReader().read();
  const found = originOf(ID, holder.pid);
  origin = { ...found, arguments: found.arguments.slice(ignored.length) };
});
afterAll(() => {
  holder.kill();
  rmSync(folder, { recursive: true, force: true });
});

test("originOf() reads a process's machine type, and its arguments without those that took memory in", () => {
  expect(origin).toMatchObject({ machine_id: ID, machine: "q35", arguments: PLAN });
});

test("mismatch() is null for the same machine, arguments and files", () => {
  expect(mismatch(origin, { machineId: ID, arguments: PLAN, files: [layer, Bun.which("bash")!] })).toBeNull();
});

test("mismatch() names what is not as it was", () => {
  const now = { machineId: ID, arguments: PLAN, files: [layer] };
  expect(mismatch(origin, { ...now, machineId: "x" })).toBe(`it is the memory of machine ${ID}`);
  expect(mismatch(origin, { ...now, arguments: ["-m", "512M", "-machine", "q35"] })).toBe(
    "QEMU was started with 256M then, and would be with 512M now",
  );
  expect(mismatch(origin, { ...now, arguments: PLAN.slice(0, 3) })).toContain("q35");
  expect(mismatch(origin, { ...now, arguments: [...PLAN, "-S"] })).toContain("-S");
  expect(mismatch(origin, { ...now, files: [layer, "/nowhere"] })).toBe(
    "/nowhere is not the file that it was",
  );
  appendFileSync(layer, "one more");
  expect(mismatch(origin, now)).toBe(`${layer} is not the file that it was`);
});
