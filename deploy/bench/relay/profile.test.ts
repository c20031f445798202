import { expect, test } from "bun:test";
import { selfTimes } from "./profile.ts";

test("selfTimes() adds up what was on top of the stack, idle time apart", () => {
  const frame = (functionName: string, url = "", lineNumber = -1) => ({ functionName, url, lineNumber });
  const profile = {
    nodes: [
      { id: 1, callFrame: frame("(root)") },
      { id: 2, callFrame: frame("pick", "/home/x/godwit/edge/request/pick.ts", 17) },
      { id: 3, callFrame: frame("write") },
      { id: 4, callFrame: frame("(idle)") },
      { id: 5, callFrame: frame("pick", "/home/x/godwit/edge/request/pick.ts", 17) },
    ],
    samples: [1, 2, 3, 4, 5, 2],
    timeDeltas: [9, 100, 100, 5_000, 100, 100],
  };
  expect(selfTimes(profile)).toEqual([
    { where: "pick  edge/request/pick.ts:18", share: 0.75 },
    { where: "write  ", share: 0.25 },
  ]);
  expect(selfTimes(profile, 0.000_2).map(({ where }) => where)).toEqual(["pick  edge/request/pick.ts:18"]);
});
