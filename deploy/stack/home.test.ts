import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { homeAt, homeFromEnvironment } from "./home.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-home-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("homeAt()", () => {
  test("keeps sockets short for a home of 120 characters", () => {
    const home = homeAt(join("/tmp", "h".repeat(115)), false);
    expect(home.folder.length).toBe(120);
    expect(home.supervisorSocket.length).toBeLessThan(60);
    expect(home.workerSocket.length).toBeLessThan(60);
  });

  test("names a home by its real path, whichever way it is reached, existing or not yet", () => {
    const before = homeAt(join(folder, "real"));
    mkdirSync(join(folder, "real"));
    symlinkSync(join(folder, "real"), join(folder, "alias"));
    expect(homeAt(join(folder, "alias"))).toEqual(before);
    expect(homeAt(join(folder, "real") + "/")).toEqual(before);
  });

  test("gives two homes different prefixes, run folders and sockets", () => {
    const [a, b] = [homeAt(join(folder, "a")), homeAt(join(folder, "b"))];
    expect(a.prefix).toMatch(/^gw[0-9a-f]{6}$/);
    expect(a.prefix).not.toBe(b.prefix);
    expect(a.runFolder).not.toBe(b.runFolder);
  });

  test("has its run folder below the temporary folder for an ordinary user", () => {
    expect(homeAt(folder, true).runFolder.startsWith(tmpdir())).toBe(true);
    expect(homeAt(folder, false).runFolder.startsWith("/run/godwit-")).toBe(true);
  });
});

test("homeFromEnvironment() follows GODWIT_HOME, else ~/.godwit", () => {
  expect(homeFromEnvironment({ GODWIT_HOME: folder }).folder).toBe(homeAt(folder).folder);
  expect(homeFromEnvironment({ GODWIT_HOME: "" }).folder).toEndWith("/.godwit");
});
