import { expect, test } from "bun:test";
import { bearerToken, TOKEN_BYTES_MAX } from "./bearer-token.ts";

test("bearerToken() reads one token, whatever the case of the scheme", () => {
  expect(bearerToken("Authorization: Bearer a.b-c._d\r\n")).toBe("a.b-c._d");
  expect(bearerToken("X: 1\r\nauthorization: bearer  abc\r\n")).toBe("abc");
});

test("bearerToken() finds none in other schemes", () => {
  expect(bearerToken("")).toBe(null);
  expect(bearerToken("Authorization: Basic YTpi\r\n")).toBe(null);
  expect(bearerToken("Authorization: Bearerx abc\r\n")).toBe(null);
});

test("bearerToken() refuses what is not exactly one token", () => {
  const lines = "Authorization: Bearer abc\r\n";
  expect(bearerToken(lines + lines)).toBe("malformed");
  for (const value of ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer a\tb", "Bearer é"]) {
    expect([value, bearerToken(`Authorization: ${value}\r\n`)]).toEqual([value, "malformed"]);
  }
  expect(bearerToken(`Authorization: Bearer ${"a".repeat(TOKEN_BYTES_MAX + 1)}\r\n`)).toBe("malformed");
});
