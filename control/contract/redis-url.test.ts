import { describe, expect, test } from "bun:test";
import { GodwitError } from "./errors.ts";
import { formatRedisUrl, parseRedisUrl, shownRedis } from "./redis-url.ts";

const nobody = { username: null, password: null };

describe("parseRedisUrl()", () => {
  test("reads one server, with the defaults that Redis has", () => {
    expect(parseRedisUrl("redis://cache")).toEqual({
      ...{ topology: "single", tls: false, hosts: [{ host: "cache", port: 6379 }], user: nobody },
      ...{ database: 0, primary: null, sentinelUser: nobody },
    });
    expect(parseRedisUrl("rediss://edge:p%40ss%3A%2F@[fd00::1]:7000/3")).toMatchObject({
      ...{ tls: true, hosts: [{ host: "fd00::1", port: 7000 }], database: 3 },
      user: { username: "edge", password: "p@ss:/" },
    });
    expect(parseRedisUrl("redis://:word@cache/0").user).toEqual({ username: null, password: "word" });
    expect(parseRedisUrl("redis://edge@cache/0").user).toEqual({ username: "edge", password: null });
  });

  test("reads sentinels, the primary's name and the sentinels' own user", () => {
    expect(
      parseRedisUrl(
        "redis+sentinel://api:word@s1,s2:5000,[::1]/fleet?sentinel_username=s&sentinel_password=q%26",
      ),
    ).toEqual({
      ...{ topology: "sentinel", tls: false, database: 0, primary: "fleet" },
      hosts: [{ host: "s1", port: 26379 }, { host: "s2", port: 5000 }, { host: "::1", port: 26379 }],
      user: { username: "api", password: "word" },
      sentinelUser: { username: "s", password: "q&" },
    });
  });

  test("reads some of a cluster's servers", () => {
    expect(parseRedisUrl("rediss+cluster://api:word@a:1,b:2")).toMatchObject({
      ...{ topology: "cluster", tls: true, hosts: [{ host: "a", port: 1 }, { host: "b", port: 2 }] },
    });
  });

  for (
    const [why, url] of [
      ["another scheme", "http://u:hunter2@a"],
      ["no host", "redis://u:hunter2@"],
      ["a port that is none", "redis://u:hunter2@a:99999"],
      ["several hosts of one server", "redis://u:hunter2@a,b"],
      ["a database that is none", "redis://u:hunter2@a/hunter2"],
      ["a parameter of one server", "redis://u:hunter2@a/0?hunter2=1"],
      ["a password with a bare #", "redis://u:hunter2#x@a/0"],
      ["a password with a bare ?", "redis://u:hunter2?hunter2@a/0"],
      ["a password with a bare /", "redis://u:hunter2/hunter2@a/0"],
      ["a bad percent sign", "redis://u:hunter2%@a/0"],
      ["sentinels without a name", "redis+sentinel://u:hunter2@a,b"],
      ["an unknown parameter", "redis+sentinel://u:hunter2@a/fleet?hunter2=hunter2"],
      ["a database of a cluster", "redis+cluster://u:hunter2@a/1"],
      ["too many hosts", `redis+cluster://u:hunter2@${Array(17).fill("a").join(",")}`],
    ] as const
  ) {
    test(`refuses ${why}, and repeats nothing of it`, () => {
      let error: unknown;
      try {
        parseRedisUrl(url);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(GodwitError);
      const { code, message, hint } = error as GodwitError;
      expect(code).toBe("redis.url_invalid");
      expect(message + hint).not.toContain("hunter2");
    });
  }
});

test("formatRedisUrl() says what parseRedisUrl() reads", () => {
  for (
    const url of [
      "redis://cache:6379/0",
      "rediss://edge:p%40ss@[fd00::1]:7000/3",
      "redis://edge@cache:1/0",
      "redis+sentinel://api:w%2Fd@s1:26379,s2:5000/fleet?sentinel_username=s&sentinel_password=q%26",
      "rediss+cluster://:word@a:1,b:2",
    ]
  ) {
    expect(formatRedisUrl(parseRedisUrl(url))).toBe(url);
  }
});

test("shownRedis() names the servers and nobody's password", () => {
  expect(shownRedis(parseRedisUrl("redis+sentinel://api:word@s1,s2:1/fleet?sentinel_password=x"))).toBe(
    "s1:26379,s2:1/fleet",
  );
});
