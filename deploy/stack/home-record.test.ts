import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { homeAt } from "./home.ts";
import {
  HOME_SCHEMA,
  newHomeRecord,
  parseHomeRecord,
  readHomeRecord,
  secretsOf,
  writeHomeRecord,
  writePrivately,
} from "./home-record.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-record-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("home record", () => {
  test("is kept, and is private", () => {
    const home = homeAt(join(folder, "kept"));
    expect(readHomeRecord(home)).toBeNull();
    const record = { ...newHomeRecord(new Date(0)), port_base: 18_080, vmm: "runc" as const };
    writeHomeRecord(home, record);
    expect(readHomeRecord(home)).toEqual(record);
    expect(statSync(home.recordFile).mode & 0o777).toBe(0o600);
    expect(statSync(home.folder).mode & 0o777).toBe(0o700);
  });

  test("of a newer version is refused in words", () => {
    const text = JSON.stringify({ schema: HOME_SCHEMA + 1, surprise: true });
    expect(() => parseHomeRecord(text, "/x/home.json")).toThrow(/written by a newer Godwit \(schema 2/);
  });

  test("that is damaged says which file and what is wrong", () => {
    expect(() => parseHomeRecord("{", "/x/home.json")).toThrow(/Cannot use \/x\/home.json/);
    expect(() => parseHomeRecord('{"schema":1}', "/x/home.json")).toThrow(/port_base/);
  });
});

test("secretsOf() makes passwords once, differing from home to home", () => {
  const home = homeAt(join(folder, "kept"));
  const secrets = secretsOf(home);
  expect(secretsOf(home)).toEqual(secrets);
  expect(statSync(home.secretsFile).mode & 0o777).toBe(0o600);
  const all = [secrets.postgres, secrets.registry, secrets.node_token, ...Object.values(secrets.redis)];
  expect(new Set(all).size).toBe(all.length);
});

test("secretsOf() adds what an earlier version did not need, and keeps the rest", () => {
  const home = homeAt(join(folder, "earlier"));
  writeHomeRecord(home, newHomeRecord(new Date(0)));
  const { snapshots: _, membership: __, ...earlier } = secretsOf(home);
  writePrivately(home.secretsFile, earlier);
  const secrets = secretsOf(home);
  expect(secrets).toMatchObject(earlier);
  expect(secretsOf(home)).toEqual(secrets);
  const { postgres: ___, ...damaged } = earlier;
  writePrivately(home.secretsFile, damaged);
  expect(() => secretsOf(home)).toThrow(/generated passwords/);
});
