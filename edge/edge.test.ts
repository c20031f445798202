/** A request from a client's socket to a machine's and back, with a real Redis in between for the routes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startTestEdge, type TestEdge } from "./edge.fixture.ts";

let t: TestEdge;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => Response.json(Object.fromEntries(request.headers)),
  });
  t = await startTestEdge();
  await t.app("hello", server.port!);
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

test("edge relays a GET to the machine of its host name", async () => {
  const response = await fetch(`http://127.0.0.1:${t.port}/x`, { headers: { host: "hello.test" } });
  expect(response.status).toBe(200);
  const seen = await response.json() as Record<string, string>;
  expect(seen.host).toBe("hello.test");
  expect(seen["x-forwarded-for"]).toBe("127.0.0.1");
  expect(seen["fly-region"]).toBe("ams");
  expect(response.headers.get("server")).toBe("godwit");
  expect(response.headers.get("fly-request-id")).toBe(seen["fly-request-id"]!);
});

test("edge answers an unknown host name with its error page", async () => {
  const response = await fetch(`http://127.0.0.1:${t.port}/`, { headers: { host: "nobody.test" } });
  expect(response.status).toBe(404);
  expect(await response.text()).toContain("edge.unknown_host");
});

test("edge answers its admin pages", async () => {
  for (const path of ["/healthz", "/metrics", "/replica", "/routes?host=hello.test"]) {
    const response = await fetch(`http://127.0.0.1:${t.adminPort}${path}`);
    expect(response.status).toBe(200);
    expect((await response.text()).length).toBeGreaterThan(10);
  }
});
