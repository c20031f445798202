import { expect, test } from "bun:test";
import { findExecutable } from "./executable.ts";

const FILES: Record<string, { isFile: boolean; mode: number }> = {
  "/bin/app": { isFile: true, mode: 0o100755 },
  "/usr/bin/app": { isFile: true, mode: 0o100755 },
  "/bin/text": { isFile: true, mode: 0o100644 },
  "/usr/bin/text": { isFile: true, mode: 0o100755 },
  "/bin/only-text": { isFile: true, mode: 0o100640 },
  "/bin/folder": { isFile: false, mode: 0o040755 },
  "/work/app": { isFile: true, mode: 0o100755 },
};
const look = (path: string) => FILES[path] ?? null;
const find = (name: string, path = "/bin:/usr/bin") => findExecutable(name, path, "/work", look);

test("findExecutable() takes the first of PATH, and passes over what is not executable", () => {
  expect(find("app")).toBe("/bin/app");
  expect(find("text")).toBe("/usr/bin/text");
  expect(find("app", "/none::/bin")).toBe("/work/app");
});

test("findExecutable() takes a name with a slash from the working folder, not from PATH", () => {
  expect(find("./app")).toBe("/work/app");
  expect(find("/usr/bin/app")).toBe("/usr/bin/app");
});

test.each([
  ["none", 'Cannot run "none": executable not found in PATH (/bin:/usr/bin)'],
  ["/none", 'Cannot run "/none": executable not found: no file /none'],
  ["only-text", 'Cannot run "only-text": permission denied: /bin/only-text has mode 0640'],
  ["/bin/folder", 'Cannot run "/bin/folder": permission denied: /bin/folder is not a file'],
])("findExecutable() says why it cannot run %p", (name, message) => {
  expect(() => find(name)).toThrow(message);
});
