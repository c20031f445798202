import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpioArchive, type CpioEntry } from "./cpio.ts";

const ENTRIES: CpioEntry[] = [
  { path: "bin", type: "folder", mode: 0o755 },
  { path: "bin/app", type: "file", mode: 0o755, data: Buffer.from("hello") },
  { path: "bin/link", type: "link", mode: 0o777, data: Buffer.from("app") },
];

test("cpioArchive() writes what cpio(1) reads", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-cpio-"));
  try {
    const cpio = Bun.spawn(["cpio", "-idm", "--quiet"], { cwd: folder, stdin: cpioArchive(ENTRIES) });
    expect(await cpio.exited).toBe(0);
    expect(await Bun.file(join(folder, "bin/link")).text()).toBe("hello");
    expect((await Bun.file(join(folder, "bin/app")).stat()).mode & 0o777).toBe(0o755);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("cpioArchive() gives the same bytes for the same entries", () => {
  expect(Buffer.compare(cpioArchive(ENTRIES), cpioArchive(ENTRIES))).toBe(0);
});
