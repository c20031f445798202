import { describe, expect, test } from "bun:test";
import { judgeBatch } from "./judge-event.ts";

const APP = "a".repeat(20);
const hostname = {
  schema: 1,
  owner: "api",
  table: "hostnames",
  key: "a.test",
  version: { epoch: 1, seq: 1 },
  deleted: false,
  row: { hostname: "a.test", app_id: APP },
  published_ms: 1,
};
const host = {
  ...hostname,
  owner: "worker:h1",
  table: "hosts",
  key: "h1",
  row: { id: "h1", region: "ams", state: "ready", cpus: 1, memory_mb: 1 },
};
function judge(event: unknown, stream = "global"): string {
  const owner = (event as { owner?: string }).owner ?? "api";
  const payload = typeof event === "string" ? event : JSON.stringify([event]);
  const [{ judgement } = {}] = judgeBatch(payload, stream, owner);
  return judgement?.verdict === "quarantine" ? judgement.reason : judgement?.verdict ?? "nothing";
}

describe("judgeBatch()", () => {
  test("applies what is right", () => {
    expect(judge(hostname)).toBe("apply");
    expect(judge(host, "ams")).toBe("apply");
    expect(judge({ ...hostname, deleted: true, row: null })).toBe("apply");
  });
  test("drops and counts unknown columns", () => {
    const event = { ...hostname, row: { ...hostname.row, secret: 1 } };
    const judgement = judgeBatch(JSON.stringify([event]), "global", "api")[0]?.judgement;
    expect(judgement).toMatchObject({ verdict: "apply", unknownColumns: 1 });
    expect(JSON.stringify(judgement)).not.toContain("secret");
  });
  test("skips an unknown table, even one named like a built-in", () => {
    expect(judge({ ...hostname, table: "volumes" })).toBe("skip");
    expect(judge({ ...hostname, table: "constructor" })).toBe("skip");
  });
  const bad: [reason: string, event: unknown, stream?: string][] = [
    ["not_json", "{"],
    ["unknown_schema", { ...hostname, schema: 2 }],
    ["unknown_schema", "[null]"],
    ["invalid_event", "{}"],
    ["invalid_event", { ...hostname, version: { epoch: 1, seq: -1 } }],
    ["invalid_event", { ...hostname, row: null }],
    ["wrong_owner", { ...hostname, owner: "worker:h1" }],
    ["wrong_owner", { ...host, owner: "worker:h2" }, "ams"],
    ["invalid_row", { ...hostname, row: { hostname: "a.test" } }],
    ["wrong_key", { ...hostname, key: "b.test" }],
    ["wrong_stream", hostname, "ams"],
    ["wrong_stream", host, "fra"],
    ["oversize", { ...hostname, row: { ...hostname.row, x: "é".repeat(40_000) } }],
    ["oversize", `[${"[".repeat(100_000)}${"]".repeat(100_000)}]`],
  ];
  for (const [reason, event, stream] of bad) {
    test(`quarantines ${reason}: ${JSON.stringify(event).slice(0, 60)} on ${stream ?? "global"}`, () => {
      expect(judge(event, stream)).toBe(reason);
    });
  }
});
