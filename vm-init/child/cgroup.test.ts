import { expect, test } from "bun:test";
import { appMemoryKb, pidLimits } from "./cgroup.ts";

const meminfo = (freeKb: number) =>
  `MemTotal:  222756 kB\nMemFree:  ${freeKb} kB\nBuffers:  80 kB\nCached:  46880 kB\nAnonPages:  8144 kB\n`;

test("appMemoryKb() is what is free or vm-init's, less what vm-init and the kernel need", () => {
  expect(appMemoryKb(meminfo(126_036), 1_836)).toBe(181_140 - 21_504 - 6_144 - 2_754);
});

test("appMemoryKb() leaves the app 64 MB where there are as many", () => {
  expect(appMemoryKb(meminfo(20_000), 1_836)).toBe(65_536);
  expect(appMemoryKb(meminfo(1_000), 1_836)).toBe(56_104);
});

test("pidLimits() keep some processes back, some more for commands, and leave the app a few in any case", () => {
  expect(pidLimits(1_500, 32_768)).toEqual({ app: 1_372, user: 1_436 });
  expect(pidLimits(20_000, 4_096)).toEqual({ app: 3_968, user: 4_032 });
  expect(pidLimits(100, 32_768)).toEqual({ app: 64, user: 128 });
});
