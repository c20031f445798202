import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withFileLock } from "./file-lock.ts";

test("withFileLock() lets one in at a time, and says who to look for when patience ends", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-lock-"));
  const file = join(folder, "lock");
  try {
    const order: string[] = [];
    const first = Promise.withResolvers<void>();
    const holder = withFileLock(file, async () => {
      order.push("first in");
      await first.promise;
      order.push("first out");
    });
    await expect(withFileLock(file, async () => {}, 0)).rejects.toMatchObject({
      code: "images.locked",
      retryable: true,
    });
    const second = withFileLock(file, async () => void order.push("second in"));
    first.resolve();
    await Promise.all([holder, second]);
    expect(order).toEqual(["first in", "first out", "second in"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
