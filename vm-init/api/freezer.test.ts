import { expect, test } from "bun:test";
import { Freezer } from "./freezer.ts";

function freezer(refuses: number | null = null) {
  const calls: string[] = [];
  const made = new Freezer({
    freeze: (fd) => {
      if (fd === refuses) throw new Error("busy");
      calls.push(`freeze ${fd}`);
    },
    thaw: (fd) => calls.push(`thaw ${fd}`),
  });
  return { made, calls };
}

test("Freezer freezes each disk once and thaws them in reverse", () => {
  const { made, calls } = freezer();
  made.disks = [4, 5];
  expect(made.freeze(10)).toBe(2);
  expect(() => made.freeze(10)).toThrow("already");
  expect(made.thaw()).toEqual({ thawed: 2, too_late: false });
  expect(made.thaw()).toEqual({ thawed: 0, too_late: false });
  expect(calls).toEqual(["freeze 4", "freeze 5", "thaw 5", "thaw 4"]);
  made.freeze(10);
  made.close();
  expect(calls.length).toBe(8);
  expect(() => made.freeze(10)).toThrow("none of its own");
});

test("Freezer thaws by itself when its time is over, and says that the thaw came too late", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const made = new Freezer({ freeze: () => {}, thaw: () => resolve() });
  made.disks = [4];
  made.freeze(0);
  await promise;
  expect(made.thaw()).toEqual({ thawed: 0, too_late: true });
});

test("Freezer leaves nothing frozen where one disk refuses, and refuses a machine without disks", () => {
  const { made, calls } = freezer(5);
  expect(() => made.freeze(1)).toThrow("none of its own");
  made.disks = [4, 5];
  expect(() => made.freeze(1)).toThrow("busy");
  expect(calls).toEqual(["freeze 4", "thaw 4"]);
});
