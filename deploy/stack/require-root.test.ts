import { expect, test } from "bun:test";
import { PACKAGES } from "../setup/packages.ts";
import { requireRoot } from "./require-root.ts";

test("requireRoot() lets root pass, and tells anybody else what is missing too", () => {
  expect(() => requireRoot(0, PACKAGES)).not.toThrow();
  expect(() => requireRoot(1_000, [])).toThrow(/need root$/);
  for (const { name, why } of PACKAGES) {
    expect(() => requireRoot(1_000, PACKAGES)).toThrow(name);
    expect(() => requireRoot(1_000, PACKAGES)).toThrow(why);
  }
});
