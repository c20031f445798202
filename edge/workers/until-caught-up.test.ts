import { expect, test } from "bun:test";
import type { Replica } from "../replica/replica.ts";
import { untilCaughtUp } from "./until-caught-up.ts";

test("untilCaughtUp() asks before the replica starts, and again where the streams could not be read", async () => {
  const asked: (() => void)[] = [];
  let connected = false;
  let rounds = 0;
  const replica = {
    caughtUp: () => new Promise<void>((resolve) => asked.push(resolve)),
    status: () => ({ connected }) as ReturnType<Replica["status"]>,
  };
  let isOver = false;
  const over = untilCaughtUp(replica, () => rounds++).then(() => isOver = true);
  expect(asked).toHaveLength(1);
  asked[0]!();
  while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect([isOver, rounds]).toEqual([false, 1]);
  connected = true;
  asked[1]!();
  await over;
  expect([asked.length, rounds]).toEqual([2, 2]);
});
