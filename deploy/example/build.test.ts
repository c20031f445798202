import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareExample } from "./build.ts";

setDefaultTimeout(60_000); // it compiles

test("prepareExample() makes a context once and clears away older ones and what a killed run left", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-example-"));
  for (const old of ["example-0123456789abcdef", "work-999999999-abc"]) mkdirSync(join(folder, old));
  const made = await prepareExample(folder);
  expect(existsSync(made.dockerfile)).toBe(true);
  expect(existsSync(join(made.contextFolder, "root/app/server"))).toBe(true);
  expect(readdirSync(join(made.contextFolder, "root"), { recursive: true }).join()).toMatch(
    /ld-linux.*libc\.so|libc\.so.*ld-linux/,
  );
  expect(await prepareExample(folder)).toEqual(made);
  expect(readdirSync(folder).length).toBe(1);
  rmSync(folder, { recursive: true });
});
