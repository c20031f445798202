import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FirecrackerApi, parseAnswer } from "./api-client.ts";
import { apiRequest } from "./api-types.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

/** What answers at the socket, in these pieces for each request. */
async function vmm(...answers: string[][]): Promise<{ path: string; asked: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-api-"));
  const asked: string[] = [];
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      asked.push(chunk.toString());
      for (const piece of answers.shift() ?? []) socket.write(piece);
    });
  });
  const path = join(folder, "api.sock");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return { path, asked };
}

async function apiOf(path: string): Promise<FirecrackerApi> {
  const api = (await FirecrackerApi.connect(path))!;
  closers.push(() => api.close());
  return api;
}

const NO_CONTENT = "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n";
const withBody = (status: number, body: string) =>
  `HTTP/1.1 ${status} \r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const failureOf = (done: Promise<unknown>) => done.then(() => null, (error) => error);

test("FirecrackerApi sends one request after the other over one connection", async () => {
  const { path, asked } = await vmm([NO_CONTENT.slice(0, 9), NO_CONTENT.slice(9)], [NO_CONTENT]);
  const api = await apiOf(path);
  await api.send(apiRequest("vm", { state: "Paused" }));
  await api.send(apiRequest("action", { action_type: "InstanceStart" }));
  expect(asked[0]).toBe(
    "PATCH /vm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n" +
      '{"state":"Paused"}',
  );
  expect(asked[1]).toStartWith("PUT /actions HTTP/1.1\r\n");
});

test("FirecrackerApi tells a refusal in Firecracker's words", async () => {
  const { path } = await vmm([withBody(400, '{"fault_message":"Device not found"}')], [
    withBody(500, "what"),
  ]);
  const api = await apiOf(path);
  const first = await failureOf(api.send(apiRequest("balloonUpdate", { amount_mib: 1 })));
  expect(first).toMatchObject({ code: "vmm.api_refused", retryable: false });
  expect(first.message).toBe("Firecracker refused PATCH /balloon: Device not found");
  const second = await failureOf(api.send(apiRequest("balloonUpdate", { amount_mib: 1 })));
  expect(second.message).toEndWith("status 500");
});

test("FirecrackerApi reads what instance it is", async () => {
  const info = { id: "x", state: "Running", vmm_version: "1.16.1", app_name: "Firecracker", more: 1 };
  const { path } = await vmm([withBody(200, JSON.stringify(info))], [withBody(200, '{"state":"Asleep"}')]);
  const api = await apiOf(path);
  expect((await api.describe()).state).toBe("Running");
  expect((await failureOf(api.describe()))?.code).toBe("vmm.api_failed");
});

test("FirecrackerApi reads how much memory the machine has", async () => {
  const { path, asked } = await vmm([withBody(200, '{"vcpu_count":1,"mem_size_mib":256}')]);
  expect(await (await apiOf(path)).memoryMib()).toBe(256);
  expect(asked[0]).toStartWith("GET /machine-config HTTP/1.1\r\n");
});

test.each([
  ["silence", []],
  ["no HTTP", ["SSH-2.0-OpenSSH\r\n\r\n"]],
  ["an answer without end", [`HTTP/1.1 200 \r\nContent-Length: 900000\r\n\r\n${"x".repeat(70_000)}`]],
  ["two answers", [NO_CONTENT + NO_CONTENT]],
])("FirecrackerApi gives up on %s, and asks nothing more", async (_, pieces) => {
  const { path, asked } = await vmm(pieces, [NO_CONTENT]);
  const api = await apiOf(path);
  const request = apiRequest("vm", { state: "Paused" });
  expect(await failureOf(api.send(request, 200))).toMatchObject({ code: "vmm.api_failed", retryable: true });
  expect((await failureOf(api.send(request)))?.code).toBe("vmm.api_failed");
  await api.closed;
  expect(asked.length).toBe(1);
});

test("FirecrackerApi.connect() follows no link that the jailed user may have made", async () => {
  const { path } = await vmm();
  const link = `${path}.link`;
  symlinkSync(path, link);
  expect(await FirecrackerApi.connect(link)).toBeNull();
  expect(await FirecrackerApi.connect("/nowhere/api.sock")).toBeNull();
});

test("parseAnswer() waits for the whole of a body", () => {
  const whole = Buffer.from(withBody(200, '{"a":1}'));
  for (let bytes = 0; bytes < whole.length; bytes++) expect(parseAnswer(whole.subarray(0, bytes))).toBeNull();
  expect(parseAnswer(whole)).toEqual({ answer: { status: 200, body: '{"a":1}' }, bytes: whole.length });
});
