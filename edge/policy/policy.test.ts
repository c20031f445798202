/** Policies on a real edge: redirects, field edits, rates, sizes and times. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ClientConnection } from "../relay/client-connection.ts";
import type { MachineRow } from "../../control/contract/rows.ts";
import { type ServicePort, Services } from "../../control/contract/machine.ts";
import {
  HOST_ID,
  idOf,
  RawClient,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";

type Asks = Partial<Pick<ServicePort, "force_https" | "http_options">>;

let t: TestEdge;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  t = await startTestEdge();
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const fields = { "set-cookie": "a=1", "x-powered-by": "app", etag: '"one"' };
      return new Response(`${(await request.bytes()).length} bytes`, { headers: fields });
    },
  });
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

const asking = (port: number, asks: Asks): Pick<MachineRow, "services"> => ({
  services: Services.parse([{ internal_port: port, ports: [{ port: 80, ...asks }] }]),
});
const get = (host: string, init: RequestInit = {}, path = "/") =>
  fetch(`http://127.0.0.1:${t.port}${path}`, {
    redirect: "manual",
    ...init,
    headers: { host, ...init.headers as Record<string, string> },
  });
async function exchange(host: string, lines: string): Promise<string> {
  const client = await RawClient.open(t.port);
  client.send(`${lines}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const text = await client.end();
  client.close();
  return text;
}

describe("force_https", () => {
  test("redirects with 301 to the same place, and leaves ACME challenges alone", async () => {
    await t.app("secure", server.port!, asking(server.port!, { force_https: true }));
    const response = await get("secure.test", {}, "/a/b?c=d");
    expect(response.status).toBe(301);
    expect(response.headers.get("location")).toBe("https://secure.test/a/b?c=d");
    const challenge = await get("secure.test", {}, "/.well-known/acme-challenge/x");
    expect(challenge.status).toBe(200);
  });

  test("asks a client to send its body elsewhere without reading it first", async () => {
    const client = await RawClient.open(t.port);
    client.send("POST /up HTTP/1.1\r\nHost: secure.test\r\nContent-Length: 1000000\r\n\r\n");
    const text = await client.end();
    expect(text).toStartWith("HTTP/1.1 301");
    expect(text).toContain("Location: https://secure.test/up\r\n");
    client.close();
  });
});

describe("response", () => {
  test("headers are set, given several values and removed; pristine leaves out the edge's own", async () => {
    const headers = {
      "X-Powered-By": false as const,
      "X-Frame-Options": "DENY",
      "Set-Cookie": ["b=2", "c=3"],
    };
    await t.app("edited", server.port!, asking(server.port!, { http_options: { response: { headers } } }));
    const edited = await get("edited.test");
    expect(edited.headers.get("x-powered-by")).toBe(null);
    expect(edited.headers.get("x-frame-options")).toBe("DENY");
    expect(edited.headers.getSetCookie()).toEqual(["b=2", "c=3"]);
    expect(edited.headers.get("server")).toBe("godwit");
    const pristine = { http_options: { response: { pristine: true } } };
    await t.app("pristine", server.port!, asking(server.port!, pristine));
    const response = await get("pristine.test");
    for (const name of ["server", "via", "fly-request-id"]) expect(response.headers.get(name)).toBe(null);
    expect(response.headers.get("x-powered-by")).toBe("app");
  });

  test("an edit of Server and Date replaces the edge's own", async () => {
    const headers = { Server: "mine", Date: false as const };
    await t.app("renamed", server.port!, asking(server.port!, { http_options: { response: { headers } } }));
    const text = await exchange("renamed.test", "GET / HTTP/1.1");
    expect(text.match(/^server:.*$/gim)).toEqual(["Server: mine"]);
    expect(text).not.toMatch(/^date:/im);
  });
});

describe("rate_limit", () => {
  test("refuses with 429 and Retry-After past the burst, and keeps counting when other options' rows come", async () => {
    const limited = { http_options: { rate_limit: { requests: 1, per_s: 3_600, burst: 2 } } };
    await t.app("limited", server.port!, asking(server.port!, limited));
    expect((await get("limited.test")).status).toBe(200);
    await t.machine("limited", server.port!, { ...asking(server.port!, limited), started_at_ms: 2 });
    await t.settled();
    expect((await get("limited.test")).status).toBe(200);
    const refused = await get("limited.test");
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(3_500);
    expect(await refused.text()).toContain("edge.rate_limited");
  });
});

describe("body_bytes_max", () => {
  test("refuses a body that says its length at once, and a chunked one when it gets there", async () => {
    await t.app("small", server.port!, asking(server.port!, { http_options: { body_bytes_max: 10 } }));
    const fits = await get("small.test", { method: "POST", body: "0123456789" });
    expect(await fits.text()).toBe("10 bytes");
    const said = await get("small.test", { method: "POST", body: "0123456789a" });
    expect(said.status).toBe(413);
    const client = await RawClient.open(t.port);
    client.send("POST / HTTP/1.1\r\nHost: small.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
    client.send("5\r\n6789a\r\n0\r\n\r\n");
    expect(await client.has("edge.body_too_large")).toStartWith("HTTP/1.1 413");
    client.close();
  });
});

describe("idle_timeout", () => {
  test("ends an exchange that is silent for longer than the service allows, and no other", async () => {
    const silent = await startRawUpstream(() => {});
    await t.app("quick", silent.port, asking(silent.port, { http_options: { idle_timeout: 1 } }));
    await t.app("patient", silent.port);
    const quick = await RawClient.open(t.port);
    const patient = await RawClient.open(t.port);
    quick.send("GET / HTTP/1.1\r\nHost: quick.test\r\n\r\n");
    patient.send("GET / HTTP/1.1\r\nHost: patient.test\r\n\r\n");
    await until(() => silent.connections.length === 2);
    await until(() => silent.connections.every(({ text }) => text.endsWith("\r\n\r\n")));
    t.edge.deadlines.sweep(performance.now() + 2_000);
    expect(await quick.has("edge.machine_timeout")).toStartWith("HTTP/1.1 504");
    expect(patient.text).toBe("");
    quick.close();
    patient.close();
    await silent.stop();
  });
});

describe("headers_read_timeout", () => {
  test("holds for the heads that follow on a connection that has named its service", async () => {
    await t.app("hasty", server.port!, asking(server.port!, { http_options: { headers_read_timeout: 1 } }));
    const client = await RawClient.open(t.port);
    client.send("GET / HTTP/1.1\r\nHost: hasty.test\r\n\r\n");
    await client.has("0 bytes");
    client.send("GET / HT");
    const connections = () => [...t.edge.relay.clients] as ClientConnection[];
    await until(() => connections().some((each) => each.deadlineMs < performance.now() + 1_500));
    t.edge.deadlines.sweep(performance.now() + 1_500);
    expect(await client.has("edge.request_timeout")).toContain("HTTP/1.1 408");
    client.close();
  });
});

describe("machines that differ", () => {
  test("the one that started last speaks, cordoned ones only where there is no other", async () => {
    const strict = asking(server.port!, { http_options: { body_bytes_max: 1 } });
    const open = asking(server.port!, {});
    const [one, two] = [idOf("diff1", 14), idOf("diff2", 14)];
    await t.app("differ", server.port!, { ...open, id: one, started_at_ms: 1_000 });
    const status = async () => (await get("differ.test", { method: "POST", body: "ab" })).status;
    expect(await status()).toBe(200);
    await t.machine("differ", server.port!, { ...strict, id: two, started_at_ms: 2_000 });
    await t.settled();
    expect(await status()).toBe(413);
    await t.machine("differ", server.port!, { ...strict, id: two, started_at_ms: 2_000, cordoned: true });
    await t.settled();
    expect(await status()).toBe(200);
    // A machine that does not serve the port has no say about it.
    const worker = { services: [], id: two, started_at_ms: 3_000 };
    await t.machine("differ", server.port!, { ...strict, id: one, started_at_ms: 1_000 });
    await t.machine("differ", server.port!, worker);
    await t.settled();
    expect(await status()).toBe(413);
    // What is gone has none either.
    await t.publish("machines", `${HOST_ID}/${one}`, null);
    await t.machine("differ", server.port!, { ...open, id: two, started_at_ms: 3_000 });
    await t.settled();
    expect(await status()).toBe(200);
  });

  test("a machine that sleeps keeps its app's rules", async () => {
    await t.app("asleep", server.port!, {
      ...asking(server.port!, { force_https: true }),
      state: "starting",
      started_at_ms: null,
    });
    expect((await get("asleep.test")).status).toBe(301);
  });
});
