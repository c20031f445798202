import { afterAll, beforeAll, expect, test } from "bun:test";
import { isPattern } from "./pattern.ts";
import { freePort } from "../servers/child.ts";
import { join } from "node:path";

let child: Bun.Subprocess<"ignore", "pipe", "inherit">;
let url = "";

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  child = Bun.spawn([process.execPath, join(import.meta.dir, "server.ts")], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    env: { PORT: String(port), FLY_APP_NAME: "my-app", FLY_MACHINE_ID: "0123456789abcd", FLY_REGION: "ams" },
  });
  const { value } = await child.stdout.getReader().read(); // its first line: it listens
  expect(new TextDecoder().decode(value)).toContain(`listening on port ${port}`);
});
afterAll(() => child.kill("SIGKILL"));

test("example answers / with facts from its own surroundings", async () => {
  const facts = await (await fetch(url)).json();
  expect(facts).toMatchObject({ app: "my-app", machine: "0123456789abcd", region: "ams" });
  expect(facts.kernel).toBe((await Bun.file("/proc/sys/kernel/osrelease").text()).trim());
  expect(facts.memory_mb).toBeGreaterThan(100);
});

test("example shows browsers a page and escapes what stands in it", async () => {
  const answer = await fetch(url, { headers: { accept: "text/html,*/*" } });
  expect(answer.headers.get("content-type")).toContain("text/html");
  expect(await answer.text()).toContain("<dt>region</dt><dd>ams</dd>");
});

test("example answers on IPv6 too", async () => {
  expect((await fetch(url.replace("127.0.0.1", "[::1]") + "/health")).status).toBe(200);
});

test("example streams a body back", async () => {
  const body = crypto.getRandomValues(new Uint8Array(65_536));
  const answer = await fetch(`${url}/echo`, { method: "PUT", body });
  expect(answer.headers.get("x-echo-method")).toBe("PUT");
  expect(await answer.bytes()).toEqual(body);
});

test("example sends bytes that can be checked", async () => {
  const answer = await fetch(`${url}/bytes?n=1000003`);
  expect(answer.headers.get("content-length")).toBe("1000003");
  expect(isPattern(await answer.bytes(), 0)).toBe(true);
  const chunked = await fetch(`${url}/bytes?n=8000009`);
  expect(chunked.headers.get("transfer-encoding")).toBe("chunked");
  expect(isPattern(await chunked.bytes(), 0)).toBe(true);
  expect((await fetch(`${url}/bytes?n=-1`)).status).toBe(400);
});

test("example sends server-sent events and ends", async () => {
  const text = await (await fetch(`${url}/events?n=3&interval_ms=1`)).text();
  expect(text.match(/^event: tick$/gm)?.length).toBe(3);
});

test("example echoes WebSocket messages", async () => {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws`);
  await new Promise((resolve) => socket.onopen = resolve);
  const message = new Promise((resolve) => socket.onmessage = (event) => resolve(event.data));
  socket.send("hello");
  expect(await message).toBe("hello");
  socket.close();
});

test("example ends cleanly on SIGTERM", async () => {
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});
