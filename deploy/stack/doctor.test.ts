import { describe, expect, test } from "bun:test";
import { type Facts, judge, memoryAvailableMb, renderFindings } from "./doctor.ts";

const good: Facts = {
  root: true,
  diskFreeMb: 50_000,
  memoryFreeMb: 8_000,
  missing: [],
  takenPorts: [],
  kernelLacks: [],
  kvm: "absent",
  canInstall: true,
};
const level = (facts: Partial<Facts>, check: string) =>
  judge({ ...good, ...facts }).find((found) => found.check === check)?.level;

describe("judge()", () => {
  test("finds nothing wrong with a good machine; /dev/kvm is information", () => {
    expect(judge(good).filter((found) => found.level === "fail" || found.level === "warn")).toEqual([]);
    expect(level({ kvm: "absent" }, "kvm")).toBe("info");
  });
  test("fails what stops an `up`, warns of what is tight", () => {
    expect(level({ diskFreeMb: 100 }, "disk")).toBe("fail");
    expect(level({ diskFreeMb: 5_000 }, "disk")).toBe("warn");
    expect(level({ memoryFreeMb: 100 }, "memory")).toBe("fail");
    expect(level({ takenPorts: ["8080"] }, "ports")).toBe("fail");
    expect(level({ kernelLacks: ["tun"] }, "kernel")).toBe("fail");
    expect(level({ missing: ["runc"] }, "packages")).toBe("warn");
    expect(level({ missing: ["runc"], canInstall: false }, "packages")).toBe("fail");
  });
  test("has something to do for each that is not good", () => {
    const text = renderFindings(judge({ ...good, root: false, missing: ["runc"], canInstall: false }));
    expect(text).toContain("→ run as root");
    expect(text).toContain("apt-get install runc");
  });
});

test("memoryAvailableMb() reads MemAvailable", () => {
  expect(memoryAvailableMb("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n")).toBe(2_048);
});
