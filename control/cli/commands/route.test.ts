import { expect, test } from "bun:test";
import { join } from "node:path";
import type { Explanation } from "../../contract/explanation.ts";
import { renderExplanation } from "./route.ts";

const explanation: Explanation = {
  schema: 1,
  url: "http://shop.test/",
  edge: { id: "edge-1", region: "ams" },
  region: "fra",
  stages: [
    { stage: "accept", decision: "passed", text: "GET / for shop.test" },
    { stage: "pick", decision: "refused", text: "No. (edge.no_machine)" },
  ],
  refusal: { status: 503, code: "edge.no_machine", message: "No.", hint: "Start one." },
  machines: [{
    id: "9080e6f3aabbcc",
    host_id: "host-1",
    region: "ams",
    state: "started",
    address: "10.0.0.2",
    verdict: "at_hard_limit",
    text: "at its hard limit",
    in_flight: 4,
    soft_limit: 2,
    hard_limit: 4,
    distance_ms: 7.25,
  }],
  rows: [{
    table: "hostnames",
    key: "shop.test",
    owner: "api",
    version: { epoch: 1, seq: 7 },
    published_ms: 0,
  }],
};

test("renderExplanation() shows stages, what the client is told, machines and rows", () => {
  expect(renderExplanation(explanation)).toBe(
    [
      "http://shop.test/",
      "decided by edge edge-1 in ams, as an edge in fra would",
      "",
      "accept  passed   GET / for shop.test",
      "pick    refused  No. (edge.no_machine)",
      "",
      "The client is told 503 edge.no_machine: No.",
      "  → Start one.",
      "",
      "MACHINE         REGION  AWAY    STATE    LOAD      VERDICT",
      "9080e6f3aabbcc  ams     7.3 ms  started  4 of 2/4  at its hard limit",
      "",
      "ROW                  OWNER  VERSION  PUBLISHED",
      "hostnames shop.test  api    1.7      1970-01-01T00:00:00.000Z",
    ].join("\n"),
  );
});

test("renderExplanation() of a time in the past says which, how far history reaches and what is not known", () => {
  const past = {
    ...{ at_ms: 60_000, reaches_to_ms: 30_000, unknown: ["how loaded machines were"] },
    rows: [],
  };
  const text = renderExplanation({ ...explanation, past });
  expect(text).toContain(
    "decided by edge edge-1 in ams, as an edge in fra would, from the rows of 1970-01-01T00:01:00.000Z",
  );
  expect(text).toContain("ROW                  OWNER  VERSION  SINCE");
  expect(text).toEndWith(
    "\n\nHistory reaches back to 1970-01-01T00:00:30.000Z. Not known of that time:\n  - how loaded machines were",
  );
  expect(renderExplanation({ ...explanation, past: { ...past, reaches_to_ms: null } })).toContain(
    "keeps no history",
  );
});

async function godwit(...args: string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "../main.ts"), ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, GODWIT_HOME: "/nonexistent", GODWIT_EDGE_URL: "" },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

test("godwit route explain asks the edge that it is told to, and prints its answer as JSON", async () => {
  const asked: URL[] = [];
  const edge = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      asked.push(new URL(request.url));
      return Response.json(explanation);
    },
  });
  const { out, code } = await godwit(
    ...["route", "explain", "http://shop.test/", "--json", "--region", "fra"],
    ...["-H", "fly-prefer-region: fra", "--edge", `http://127.0.0.1:${edge.port}`],
    ...["--at", "2026-01-02T03:04:05Z"],
  );
  expect(code).toBe(0);
  expect(asked[0]!.searchParams.get("at")).toBe(String(Date.UTC(2026, 0, 2, 3, 4, 5)));
  expect(JSON.parse(out)).toEqual(explanation);
  const { pathname, searchParams } = asked[0]!;
  expect([pathname, searchParams.get("url"), searchParams.get("region"), searchParams.get("field")]).toEqual([
    "/explain",
    "http://shop.test/",
    "fra",
    "fly-prefer-region: fra",
  ]);
  await edge.stop(true);
});

test("godwit route explain says what is wrong with what it was given", async () => {
  const notUrl = await godwit("route", "explain", "shop.test");
  expect([notUrl.code, notUrl.err.includes("cli.url")]).toEqual([2, true]);
  const notTime = await godwit(
    "route",
    "explain",
    "http://shop.test/",
    "--at",
    "yesterday",
    "--edge",
    "http://127.0.0.1:1",
  );
  expect([notTime.code, notTime.err.includes("cli.time")]).toEqual([2, true]);
  const noEdge = await godwit("route", "explain", "http://shop.test/");
  expect([noEdge.code, noEdge.err.includes("cli.no_edge")]).toEqual([2, true]);
  const away = await godwit("route", "explain", "http://shop.test/", "--edge", "http://127.0.0.1:1");
  expect([away.code, away.err.includes("cli.unreachable")]).toEqual([6, true]);
});
