/** The listener of snapshots, with real clients of bytes. */
import { afterEach, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SnapshotList } from "../../control/contract/snapshots.ts";
import { RawClient, until } from "../edge.fixture.ts";
import {
  type AnySnapshot,
  anySnapshot,
  cleanedUp,
  cleanUp,
  folderWith,
  listeningLog,
  newFolder,
} from "./snapshot.fixture.ts";
import { SnapshotServer, type SnapshotServerLimits } from "./server.ts";
import { bearsToken, readSnapshotToken } from "./token.ts";

afterEach(cleanUp);
const TOKEN = "t".repeat(40);

async function serve(
  snapshots: readonly AnySnapshot[],
  more: { address?: string; token?: string; limits?: Partial<SnapshotServerLimits> } = {},
) {
  const folder = folderWith(...snapshots);
  const { log, lines } = listeningLog();
  const server = new SnapshotServer({
    ...{ folder, log, token: more.token ?? null, limits: more.limits ?? {} },
    listen: { address: more.address ?? "127.0.0.1", port: 0 },
  });
  const port = await server.listen();
  cleanedUp(() => server.stop());
  const base = `http://127.0.0.1:${port}`;
  return { server, folder, lines, port, base, urlOf: (id: string) => `${base}/replica/snapshots/${id}` };
}
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

test("it lists manifests, the newest first", async () => {
  const [one, two] = [anySnapshot(100, { created_ms: 1 }), anySnapshot(100, { created_ms: 2 })];
  const { base } = await serve([one, two]);
  const response = await fetch(`${base}/replica/snapshots`);
  expect(response.status).toBe(200);
  expect(SnapshotList.parse(await response.json()).snapshots).toEqual([two.manifest, one.manifest]);
});

test("it serves a file whole and in parts, as its length, its tag and HEAD say", async () => {
  const { manifest, packed } = anySnapshot(3_000_000);
  const { urlOf, lines } = await serve([{ manifest, packed, content: packed }]);
  const url = urlOf(manifest.id);
  const whole = await fetch(url);
  expect(whole.status).toBe(200);
  expect(Object.fromEntries(whole.headers)).toMatchObject({
    ...{ "content-type": "application/zstd", "content-length": String(manifest.bytes) },
    ...{ etag: `"${manifest.id}"`, "accept-ranges": "bytes" },
  });
  expect((await bytesOf(whole)).equals(packed)).toBe(true);

  const etag = `"${manifest.id}"`;
  const part = await fetch(url, { headers: { range: "bytes=1000000-1999999", "if-range": etag } });
  expect(part.status).toBe(206);
  expect(part.headers.get("content-range")).toBe(`bytes 1000000-1999999/${manifest.bytes}`);
  expect((await bytesOf(part)).equals(packed.subarray(1_000_000, 2_000_000))).toBe(true);
  const end = await fetch(url, { headers: { range: "bytes=-5" } });
  expect((await bytesOf(end)).equals(packed.subarray(-5))).toBe(true);
  const changed = await fetch(url, { headers: { range: "bytes=5-", "if-range": '"another"' } });
  expect([changed.status, (await bytesOf(changed)).length]).toEqual([200, manifest.bytes]);
  const beyond = await fetch(url, { headers: { range: `bytes=${manifest.bytes}-` } });
  expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, `bytes */${manifest.bytes}`]);

  const head = await fetch(url, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length")]).toEqual([200, String(manifest.bytes)]);
  expect((await bytesOf(head)).length).toBe(0);
  await until(() => lines.length === 4);
  expect(lines.every(({ msg, whole }) => msg === "snapshot served" && whole === true)).toBe(true);
  expect(lines[1]).toMatchObject({
    snapshot: manifest.id,
    first: 1_000_000,
    last: 1_999_999,
    sent: 1_000_000,
  });
});

test("it knows no other path, and no other method", async () => {
  const { manifest, packed } = anySnapshot(100);
  const { port, folder, urlOf } = await serve([{ manifest, packed, content: packed }]);
  writeFileSync(join(folder.path, "..", "secret"), "secret");
  for (
    const path of [
      "/",
      "/replica/snapshots/",
      "/replica/snapshots/../secret",
      "/replica/snapshots/..%2fsecret",
      "/replica/snapshots/%2e%2e/secret",
      `/replica/snapshots/${manifest.id}.json`,
      `/replica/snapshots/${manifest.id}/../../secret`,
      `/replica/snapshots/${"0".repeat(32)}`,
      `//replica/snapshots`,
    ]
  ) {
    const client = await RawClient.open(port);
    const text = await client.send(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`).end();
    expect(text).toStartWith("HTTP/1.1 404");
    expect(text).toContain("replica.snapshot_not_found");
    client.close();
  }
  const response = await fetch(urlOf(manifest.id), { method: "DELETE" });
  expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

test("it asks for the token that it has, and does not start beyond loopback without one", async () => {
  const snapshot = anySnapshot(100);
  await expect(serve([snapshot], { address: "0.0.0.0" })).rejects.toMatchObject({
    code: "replica.snapshot_listener_open",
  });
  await expect(serve([snapshot], { address: "127.example.com" })).rejects.toMatchObject({
    code: "replica.snapshot_listener_open",
  });
  for (const address of ["0.0.0.0", "127.0.0.1"]) {
    const { base, urlOf } = await serve([snapshot], { address, token: TOKEN });
    for (const url of [`${base}/replica/snapshots`, urlOf(snapshot.manifest.id), `${base}/x`]) {
      for (const authorization of [null, "Bearer", `Bearer ${TOKEN}x`, `Basic ${TOKEN}`, "Bearer x"]) {
        const response = await fetch(url, { headers: authorization === null ? {} : { authorization } });
        expect(response.status).toBe(401);
        expect(response.headers.get("www-authenticate")).toStartWith("Bearer");
        expect(await response.text()).toContain("replica.snapshot_token_wrong");
      }
    }
    const response = await fetch(urlOf(snapshot.manifest.id), {
      headers: { authorization: `bearer ${TOKEN}` },
    });
    expect((await bytesOf(response)).equals(snapshot.packed)).toBe(true);
  }
});

test("a token is read from a file that nobody else may read, and compared whole", () => {
  const file = join(newFolder(), "token");
  const unusable = expect.objectContaining({ code: "replica.snapshot_token_unusable" });
  expect(() => readSnapshotToken(file)).toThrow(unusable);
  writeFileSync(file, "short\n", { mode: 0o600 });
  expect(() => readSnapshotToken(file)).toThrow(unusable);
  writeFileSync(file, `${TOKEN}\n`);
  expect(readSnapshotToken(file)).toBe(TOKEN);
  chmodSync(file, 0o644);
  expect(() => readSnapshotToken(file)).toThrow(unusable);
  expect([`Bearer ${TOKEN}`, `Bearer ${TOKEN} x`, undefined].map((field) => bearsToken(field, TOKEN)))
    .toEqual([true, false, false]);
});

test("many may download at once, more are told to come again", async () => {
  // More than fits into what lies between, so that those that are not read stay under way.
  const { manifest, packed } = anySnapshot(30_000_000);
  const limits = { downloadsMax: 6, bytesPerS: 1_000_000_000 };
  const { urlOf, server } = await serve([{ manifest, packed, content: packed }], { limits });
  const url = urlOf(manifest.id);
  const started = await Promise.all(Array.from({ length: 6 }, () => fetch(url)));
  expect(server.status().downloads).toBe(6);
  const refused = await fetch(url);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
  expect(await refused.text()).toContain("replica.snapshot_busy");
  expect((await fetch(url, { method: "HEAD" })).status).toBe(200);
  for (const body of await Promise.all(started.map(bytesOf))) expect(body.equals(packed)).toBe(true);
  await until(() => server.status().downloads === 0);
  expect((await bytesOf(await fetch(url))).equals(packed)).toBe(true);
});

test("all downloads together keep to the pace", async () => {
  const { manifest, packed } = anySnapshot(1_000_000);
  const { urlOf } = await serve([{ manifest, packed, content: packed }], {
    limits: { bytesPerS: 4_000_000 },
  });
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: 4 }, async () => bytesOf(await fetch(urlOf(manifest.id)))));
  // 4 MB at 4 MB/s, less the burst of the beginning.
  expect(performance.now() - startedMs).toBeGreaterThan(700);
});

test("a client that takes nothing is cut off, and its snapshot is held until then", async () => {
  const { manifest, packed } = anySnapshot(40_000_000);
  const limits = { stallMsMax: 2_000 };
  const { port, folder, server, lines } = await serve([{ manifest, packed, content: packed }], { limits });
  const client = await RawClient.open(port);
  client.socket.pause();
  client.send(`GET /replica/snapshots/${manifest.id} HTTP/1.1\r\nHost: x\r\n\r\n`);
  await until(() => server.status().downloads === 1);
  folder.tidy(0);
  expect(folder.list()).toEqual([manifest]);
  await until(() => server.status().downloads === 0);
  folder.tidy(0);
  expect(folder.list()).toEqual([]);
  expect(lines.at(-1)).toMatchObject({ msg: "snapshot served", whole: false });
  client.close();
});

test("a client that leaves ends its download, and stop() ends those under way", async () => {
  const { manifest, packed } = anySnapshot(4_000_000);
  const { urlOf, server } = await serve([{ manifest, packed, content: packed }], {
    limits: { bytesPerS: 500_000 },
  });
  const leaving = new AbortController();
  const response = await fetch(urlOf(manifest.id), { signal: leaving.signal });
  const reader = response.body!.getReader();
  await reader.read();
  leaving.abort();
  await until(() => server.status().downloads === 0);
  const staying = await fetch(urlOf(manifest.id));
  const body = bytesOf(staying).then(() => "whole", () => "cut");
  await until(() => server.status().downloads === 1);
  await server.stop();
  expect(await body).toBe("cut");
});

test("a connection that asks for nothing in time is closed, one that downloads for longer is not", async () => {
  const { manifest, packed } = anySnapshot(1_000_000);
  const limits = { requestMsMax: 500, bytesPerS: 1_000_000 };
  const { port, urlOf } = await serve([{ manifest, packed, content: packed }], { limits });
  const download = fetch(urlOf(manifest.id)).then(bytesOf);
  const [silent, half] = [await RawClient.open(port), await RawClient.open(port)];
  half.send("GET / HTTP/1.1\r\nHost:");
  await Promise.all([silent.end(), half.end()]);
  expect((await download).equals(packed)).toBe(true);
});
