import { expect, test } from "bun:test";
import { GodwitError } from "../../contract/errors.ts";
import { parseReference } from "./reference.ts";

const hex = "a".repeat(64);

test("parseReference() splits host, name, tag and digest", () => {
  expect(parseReference("127.0.0.1:5000/team/app:v1")).toMatchObject({
    host: "127.0.0.1:5000",
    name: "127.0.0.1:5000/team/app",
    tag: "v1",
    digest: null,
  });
  expect(parseReference(`reg.example/app:v1@sha256:${hex}`)).toMatchObject({
    tag: "v1",
    digest: `sha256:${hex}`,
  });
  expect(parseReference(`[::1]:5000/app@sha256:${hex}`)).toMatchObject({ host: "[::1]:5000", tag: null });
  expect(parseReference("localhost/app")).toMatchObject({ host: "localhost", tag: "latest" });
});

test("parseReference() leaves the registry open where the reference names none", () => {
  expect(parseReference("nginx")).toMatchObject({ host: null, name: "nginx", tag: "latest" });
  expect(parseReference("library/nginx:1.22")).toMatchObject({
    host: null,
    name: "library/nginx",
    tag: "1.22",
  });
});

test("parseReference() reads a layout folder with and without a tag", () => {
  expect(parseReference("oci:/tmp/some layout:v2")).toMatchObject({ folder: "/tmp/some layout", tag: "v2" });
  expect(parseReference("oci:/tmp/layout")).toMatchObject({
    kind: "layout",
    folder: "/tmp/layout",
    tag: null,
  });
});

const bad = [
  "",
  "x".repeat(600),
  "UPPER/case",
  "app:",
  "app:bad tag",
  "app@sha256:short",
  `app@sha512:${hex}`,
  "a//b",
  "/app",
  "app/",
  "docker://app",
  "-x/app",
  "ho_st:5000/app",
  "app name",
  "../etc/passwd",
  "app\n:v1",
  "oci:relative/folder",
  "oci:/folder:bad tag",
  "--authfile=/etc/shadow",
];
test.each(bad)("parseReference() refuses %j with words", (text) => {
  try {
    parseReference(text);
    throw new Error("accepted");
  } catch (error) {
    expect(error).toBeInstanceOf(GodwitError);
    expect((error as GodwitError).code).toBe("image.bad_reference");
    expect((error as GodwitError).fault).toBe("client");
  }
});
