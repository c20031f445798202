import { expect, test } from "bun:test";
import { closeSync, existsSync } from "node:fs";
import { run } from "./driver.fixture.ts";
import { openTap } from "./open-tap.ts";

test("openTap() opens a tap once at a time, and makes none", async () => {
  const name = `gwtap${crypto.randomUUID().slice(0, 6)}`;
  expect(openTap(name)).toBeNull();
  expect(existsSync(`/sys/class/net/${name}`)).toBe(false);
  await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"]);
  try {
    const fd = openTap(name)!;
    expect(openTap(name)).toBeNull();
    closeSync(fd);
    closeSync(openTap(name)!);
  } finally {
    await run(["ip", "link", "delete", name]);
  }
});

test("openTap() is null for what is no tap, and for a name that no interface can have", () => {
  expect(openTap("lo")).toBeNull();
  expect(openTap("../../net/lo")).toBeNull();
  expect(openTap("x".repeat(16))).toBeNull();
});
