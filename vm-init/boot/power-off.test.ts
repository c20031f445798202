import { expect, test } from "bun:test";
import { settleAll, TRIES } from "./power-off.ts";

/** Busy for the first `tries` looks. */
function disk(path: string, tries: number, done: string[]) {
  let looks = 0;
  return {
    path,
    settle: () => {
      if (looks++ < tries) throw new Error("EBUSY");
      done.push(`${path} after ${looks}`);
    },
    giveUp: () => void done.push(`${path} given up`),
  };
}

test("settleAll() tries what is busy again, and the others meanwhile only once", async () => {
  const done: string[] = [];
  let pauses = 0;
  const pause = () => Promise.resolve(void pauses++);
  await settleAll([disk("/a", 0, done), disk("/b", TRIES - 1, done)], pause, (line) => done.push(line));
  expect(done).toEqual(["/a after 1", `/b after ${TRIES}`]);
  expect(pauses).toBe(TRIES - 1);
});

test("settleAll() gives up what stays busy, says so, and goes on with the rest", async () => {
  const done: string[] = [];
  const disks = [disk("/a", TRIES, done), disk("/b", TRIES - 1, done)];
  await settleAll(disks, () => Promise.resolve(), (line) => done.push(line));
  expect(done).toEqual([
    `left /a as it is after ${TRIES} tries: EBUSY`,
    "/a given up",
    `/b after ${TRIES}`,
  ]);
});
