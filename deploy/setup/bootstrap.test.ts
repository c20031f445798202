import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootstrap, packagesHash, staleBecause } from "./bootstrap.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-bootstrap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("bootstrap()", () => {
  test("installs once, does nothing the second time, and again after the lock file changed", async () => {
    mkdirSync(join(folder, "dependency"));
    writeFileSync(join(folder, "dependency/package.json"), '{"name":"dependency","version":"1.0.0"}');
    writeFileSync(
      join(folder, "package.json"),
      '{"name":"empty","private":true,"dependencies":{"dependency":"file:./dependency"}}',
    );
    Bun.spawnSync([process.execPath, "install", "--lockfile-only"], { cwd: folder });
    expect(staleBecause(folder)).toBe("not installed yet");
    expect(await bootstrap(folder)).toBe(0);
    expect(existsSync(join(folder, "node_modules/dependency"))).toBe(true);
    expect(staleBecause(folder)).toBeNull();
    const hash = packagesHash(folder);
    writeFileSync(join(folder, "bun.lock"), "changed");
    expect(packagesHash(folder)).not.toBe(hash);
    expect(staleBecause(folder)).toBe("bun.lock has changed");
  });

  test("imports nothing from npm, because nothing of it is there yet", async () => {
    const text = await Bun.file(join(import.meta.dir, "bootstrap.ts")).text();
    const imports = Array.from(text.matchAll(/from "([^"]+)"/g), (match) => match[1]);
    expect(imports.every((name) => name!.startsWith("node:"))).toBe(true);
  });
});
