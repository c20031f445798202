import { expect, test } from "bun:test";
import { RequestHead } from "../relay/request-head.ts";
import { httpsLocation } from "./https-redirect.ts";

function locationOf(host: string, target: string): string | null {
  return httpsLocation(Object.assign(new RequestHead(), { host, target }));
}

test("httpsLocation() keeps host, path and query", () => {
  expect(locationOf("a.test", "/x/y?z=1&u=%20")).toBe("https://a.test/x/y?z=1&u=%20");
  expect(locationOf("a.test", "*")).toBe("https://a.test/");
  // Not a reference without a scheme: the host before it makes it a path.
  expect(locationOf("a.test", "//evil.test/")).toBe("https://a.test//evil.test/");
});

test("httpsLocation() leaves ACME challenges where the issuer looks for them", () => {
  expect(locationOf("a.test", "/.well-known/acme-challenge/token")).toBe(null);
  expect(locationOf("a.test", "/.well-known/acme-challengex")).not.toBe(null);
});
