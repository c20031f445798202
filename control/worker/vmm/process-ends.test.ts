import { expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { identify, killAndWait, type ProcessIdentity } from "./host-process.ts";
import { openPidfd } from "./pidfd.ts";
import { goneOf, ProcessEnds } from "./process-ends.ts";

const NEVER_MS = 3_600_000;
const SOON_MS = 5;
const noPidfd = () => null;

/** A process that is no child of this one. */
async function stranger(): Promise<ProcessIdentity> {
  const shell = Bun.spawn(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], { stdout: "pipe" });
  return identify(Number(await new Response(shell.stdout).text()))!;
}

function pidfds(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes("pidfd");
    } catch {
      return false; // the one of this very listing
    }
  }).length;
}

test.each([["a pidfd", openPidfd], ["/proc, where there is no pidfd", noPidfd]] as const)(
  "goneOf() sees the end of a process that is no child, by %s",
  async (_, open) => {
    const ends = new ProcessEnds(SOON_MS, open);
    const [one, other] = [await stranger(), await stranger()];
    const gone: string[] = [];
    const oneGone = goneOf(one, new AbortController().signal, undefined, ends).then(() => gone.push("one"));
    const otherGone = goneOf(other, new AbortController().signal, undefined, ends).then(() =>
      gone.push("other")
    );
    await killAndWait(other);
    await otherGone;
    expect(gone).toEqual(["other"]);
    await killAndWait(one);
    await oneGone;
    expect(ends.size).toBe(0);
  },
);

test("goneOf() sees a zombie as gone, which its parent has not waited for", async () => {
  const parent = Bun.spawn(["sh", "-c", "sleep 60 & echo $!; exec sleep 60"], { stdout: "pipe" });
  const { value } = await parent.stdout.getReader().read();
  const child = identify(Number(Buffer.from(value!).toString()))!;
  const gone = goneOf(child, new AbortController().signal, undefined, new ProcessEnds(SOON_MS));
  process.kill(child.pid, "SIGKILL");
  await gone;
  parent.kill("SIGKILL");
  await parent.exited;
});

test.each([["with a pidfd", openPidfd], ["without", noPidfd]] as const)(
  "goneOf() sees at once that a process was gone before, or has only the same pid, %s",
  async (_, open) => {
    const ends = new ProcessEnds(NEVER_MS, open);
    await goneOf({ pid: process.pid, start_time: "1" }, new AbortController().signal, undefined, ends);
    const gone = await stranger();
    await killAndWait(gone);
    await goneOf(gone, new AbortController().signal, undefined, ends);
    expect(ends.size).toBe(0);
  },
);

test("goneOf() looks at once after its hint", async () => {
  const identity = await stranger();
  const hint = Promise.withResolvers<void>();
  const ends = new ProcessEnds(NEVER_MS);
  const gone = goneOf(identity, new AbortController().signal, hint.promise, ends);
  await killAndWait(identity);
  hint.resolve();
  await gone;
  expect(ends.size).toBe(0);
});

test("goneOf() lets go of the process when its signal aborts, and stays pending", async () => {
  const ends = new ProcessEnds(SOON_MS);
  const leaving = new AbortController();
  const identity = await stranger();
  const before = pidfds();
  let isGone = false;
  void goneOf(identity, leaving.signal, undefined, ends).then(() => isGone = true);
  expect(pidfds()).toBe(before + 1);
  leaving.abort();
  expect([ends.size, pidfds()]).toEqual([0, before]);
  await killAndWait(identity);
  // Another that is watched by the same interval is seen: the first would have been, too.
  const other = await stranger();
  const otherGone = goneOf(other, new AbortController().signal, undefined, ends);
  await killAndWait(other);
  await otherGone;
  expect(isGone).toBe(false);
});
