import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { homeAt } from "./home.ts";
import { newHomeRecord, writeHomeRecord } from "./home-record.ts";
import { stackProcesses } from "./leftovers.ts";
import { askSupervisor, spawnSupervisor } from "./supervisor-client.ts";

test("spawnSupervisor() that is interrupted leaves no supervisor behind", async () => {
  const home = homeAt(mkdtempSync(join(tmpdir(), "godwit-spawn-")));
  writeHomeRecord(home, newHomeRecord(new Date()));
  const interruption = new AbortController();
  const spawned = spawnSupervisor(home, interruption.signal);
  interruption.abort(new Error("interrupted"));
  expect(await spawned.catch((error) => error.message)).toBe("interrupted");
  while (stackProcesses(home).length > 0) await Bun.sleep(10);
  expect(await askSupervisor(home)).toBeNull();
  for (const folder of [home.folder, home.runFolder]) rmSync(folder, { recursive: true, force: true });
});
