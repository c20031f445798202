import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../image.fixture.ts";
import { swapHeader } from "./swap.ts";

test("swapHeader() is what blkid knows as swap, with its size and id", () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-swap-"));
  const file = join(folder, "swap");
  writeFileSync(file, swapHeader(1_048_576, Uint8Array.from({ length: 16 }, (_, at) => at)));
  truncateSync(file, 1_048_576);
  expect(run(["blkid", "-p", "-o", "export", file])).toContain("TYPE=swap");
  expect(run(["blkid", "-p", "-o", "export", file])).toContain("UUID=00010203-0405-0607-0809-0a0b0c0d0e0f");
  rmSync(folder, { recursive: true });
});
