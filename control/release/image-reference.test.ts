import { expect, test } from "bun:test";
import { pinnedReference } from "./image-reference.ts";

test("pinnedReference() puts the digest where the tag was", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  expect(pinnedReference("app", digest)).toBe(`app@${digest}`);
  expect(pinnedReference("team/app:1.2", digest)).toBe(`team/app@${digest}`);
  expect(pinnedReference("127.0.0.1:5000/app", digest)).toBe(`127.0.0.1:5000/app@${digest}`);
  expect(pinnedReference("127.0.0.1:5000/app:v1", digest)).toBe(`127.0.0.1:5000/app@${digest}`);
  expect(pinnedReference(`app@${digest}`, digest)).toBe(`app@${digest}`);
  expect(pinnedReference("oci:/var/layout:tag", digest)).toBe("oci:/var/layout:tag");
});
