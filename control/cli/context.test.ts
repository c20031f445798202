import { describe, expect, test } from "bun:test";
import { appOf, connectionOf } from "./context.ts";

const defaults = { api_url: "http://127.0.0.1:8081", token: "of-the-home" };

describe("connectionOf()", () => {
  test("prefers the option, then the environment, then the home", () => {
    expect(connectionOf({}, {}, defaults)).toEqual({ url: defaults.api_url, token: "of-the-home" });
    expect(connectionOf({}, { GODWIT_TOKEN: "env", GODWIT_API_URL: "http://x" }, defaults))
      .toEqual({ url: "http://x", token: "env" });
    expect(connectionOf({ accessToken: "flag" }, { GODWIT_TOKEN: "env" }, defaults).token).toBe("flag");
  });
  test("refuses an address that is none", () => {
    expect(() => connectionOf({}, { GODWIT_API_URL: "127.0.0.1:8081 " }, defaults)).toThrow(
      /as the API's address/,
    );
  });
});

test("appOf() takes -a before GODWIT_APP, and asks where there is neither", () => {
  expect(appOf({ app: "a" }, { GODWIT_APP: "b" })).toBe("a");
  expect(appOf({}, { GODWIT_APP: "b" })).toBe("b");
  expect(() => appOf({}, {})).toThrow("Which app?");
});
