import { expect, test } from "bun:test";
import { SystemError } from "../system/error.ts";
import { insideRoot } from "./inside-root.ts";

const ENOENT = 2;
const links: Record<string, string> = {
  "/": "/",
  "/etc": "/etc",
  "/var/run": "/run",
  "/app/settings": "/proc/sys/kernel",
  "/app/init": "/.godwit/init",
};
const real = (path: string) => {
  if (links[path] === undefined) throw new SystemError(`realpath ${path}`, ENOENT);
  return links[path];
};

test.each([
  ["/etc/app.conf", "/etc/app.conf"],
  ["/var/run/app/pid", "/run/app/pid"],
  ["/not/there/yet", "/not/there/yet"],
  ["/development/x", "/development/x"],
])("insideRoot() leads %s to %s", (path, target) => {
  expect(insideRoot(path, real)).toBe(target);
});

test.each(["/proc/sys/kernel/x", "/app/settings/core_pattern", "/app/init/vm-init", "/dev/vda", "/dev"])(
  "insideRoot() refuses %s, which is not the image's",
  (path) => {
    expect(() => insideRoot(path, real)).toThrow("which is not the image's");
  },
);
