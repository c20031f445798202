import { expect, test } from "bun:test";
import { refByDigest } from "./push-layout.ts";

const digest = `sha256:${"a".repeat(64)}`;

test("refByDigest() leaves the tag out and keeps the registry's port", () => {
  expect(refByDigest("127.0.0.1:5000", "team/app:v1", digest)).toBe(`127.0.0.1:5000/team/app@${digest}`);
  expect(refByDigest("127.0.0.1:5000", "app", digest)).toBe(`127.0.0.1:5000/app@${digest}`);
});
