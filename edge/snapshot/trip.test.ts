/** The whole way of a snapshot on each runtime: builder's process, listener, download, a file that opens. */
import { afterEach, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RUNTIMES } from "../workers/workers.fixture.ts";
import { cleanUp, newFolder, readReplica, ReplicaWriter, rowsAt } from "./snapshot.fixture.ts";

afterEach(cleanUp);
const program = new URL("./trip.fixture.ts", import.meta.url).pathname;

for (const runtime of ["bun", "deno"] as const) {
  if (!existsSync(RUNTIMES[runtime][0]!)) {
    test.skip(`skipped: there is no ${runtime} here`, () => {});
    continue;
  }
  test(`a snapshot is built, served and fetched on ${runtime}`, async () => {
    const folder = newFolder();
    const [file, path, token] = [join(folder, "replica.sqlite"), join(folder, "next"), "t".repeat(32)];
    writeFileSync(`${path}.token`, token, { mode: 0o600 });
    const writer = new ReplicaWriter(file);
    writer.fill(5_000, 400);
    for (let i = 0; i < 60; i++) writer.batch();
    const child = Bun.spawn([...RUNTIMES[runtime], program, file, path, token], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [said, failed] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect([said.trim().split("\n").at(-1)!.slice(0, 1), failed]).toEqual(["{", expect.any(String)]);
    expect(JSON.parse(said.trim().split("\n").at(-1)!)).toMatchObject({
      runtime,
      position: "60-0",
      rows: 5_050,
    });
    expect(failed).toContain("snapshot served");
    expect(failed).not.toContain(token);
    expect(readReplica(path)).toMatchObject({ rows: rowsAt("60-0"), check: "ok" });
  }, 60_000);
}
