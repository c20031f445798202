/** Sources that are good, away, slow, broken and false, each a real server; a disk that is full. */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { closedPort, until } from "../edge.fixture.ts";
import type { SnapshotOffer } from "../replica/ports.ts";
import {
  type AnySnapshot,
  anySnapshot,
  cleanedUp,
  cleanUp,
  folderWith,
  listeningLog,
  newFolder,
  smallDisk,
} from "./snapshot.fixture.ts";
import type { DownloadLimits } from "./download.ts";
import { SnapshotServer } from "./server.ts";
import {
  HttpSnapshotSources,
  LIST_BYTES_MAX,
  LIST_MS_MAX,
  newestFirst,
  type SnapshotSourcesOptions,
} from "./sources.ts";

afterEach(cleanUp);
const TOKEN = "t".repeat(40);

async function goodSource(...snapshots: readonly AnySnapshot[]): Promise<string> {
  const folder = folderWith(...snapshots);
  const listen = { address: "127.0.0.1", port: 0 };
  const server = new SnapshotServer({ folder, listen, token: null, log: listeningLog().log });
  const port = await server.listen();
  cleanedUp(() => server.stop());
  return `http://127.0.0.1:${port}`;
}
type Answer = (request: IncomingMessage, response: ServerResponse) => void;
async function httpSource(answer: Answer): Promise<string> {
  const server = createHttpServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanedUp(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
/** Bytes as they are, for what an HTTP server would not do. @param answer gets each request's head */
async function rawSource(answer: (socket: Socket, head: string) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        answer(socket, head);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanedUp(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const QUICK: Partial<DownloadLimits> = {
  ...{ answerMsMax: 300, windowMs: 300, bytesPerSMin: 1_000, triesMax: 3, progressBytes: 10_000 },
  ...{ busyMax: 5, waitMsMin: 1, waitMsMax: 5 },
};
/** For what is to go well, on a busy machine too. */
const PATIENT: Partial<DownloadLimits> = { ...QUICK, answerMsMax: 2_000, windowMs: 2_000 };
function sourcesOf(from: readonly string[], more: Partial<SnapshotSourcesOptions> = {}) {
  const { log, lines } = listeningLog();
  const folder = join(newFolder(), "replica.sqlite.snapshots");
  const sources = new HttpSnapshotSources({
    ...{
      from,
      tokenFile: null,
      folder,
      replicaSchema: 1,
      log,
      limits: QUICK,
      listMsMax: 1_000,
      random: Math.random,
    },
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    ...more,
  });
  return { sources, lines, folder: more.folder ?? folder, path: join(more.folder ?? folder, "..", "next") };
}
const offerOf = (source: string, { manifest }: AnySnapshot): SnapshotOffer => ({ source, manifest });
const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
const leftIn = (folder: string) => existsSync(folder) ? readdirSync(folder) : [];
async function failureOf(fetching: Promise<void>): Promise<{ code: string; message: string }> {
  return await fetching.then(() => ({ code: "none", message: "" }), (error) => error);
}

describe("list()", () => {
  test("asks all at once and puts the newest first; those that cannot be used are passed over", async () => {
    const [old, fresh] = [anySnapshot(100), anySnapshot(100, { positions: { s: "2000-0" } })];
    const foreign = anySnapshot(100, { replica_schema: 2 });
    const good = [await goodSource(old, fresh, foreign), await goodSource(old)];
    const bad = [
      `http://127.0.0.1:${await closedPort()}`,
      await rawSource(() => {}),
      await rawSource(() => {}),
      await httpSource((_, response) => response.end("no JSON")),
      await httpSource((_, response) =>
        response.writeHead(302, { location: `${good[0]}/replica/snapshots` }).end()
      ),
      await httpSource((_, response) => response.end(`{"snapshots":[{"schema":1,"id":"../../etc/passwd"}]}`)),
      await httpSource((_, response) => response.end(`{"x":"${"x".repeat(LIST_BYTES_MAX)}"}`)),
    ];
    const { sources, lines } = sourcesOf([...bad, ...good], { listMsMax: LIST_MS_MAX });
    const startedMs = performance.now();
    const offers = await sources.list();
    expect(offers.map(({ manifest }) => manifest)).toEqual([fresh.manifest, old.manifest]);
    expect(offers[0]!.source).toBe(`${good[0]}/`);
    expect(performance.now() - startedMs).toBeLessThan(2 * LIST_MS_MAX);
    expect(lines.length).toBe(bad.length);
  });

  test("is empty where there is no source, and names no password", async () => {
    expect(await sourcesOf([]).sources.list()).toEqual([]);
    const snapshot = anySnapshot(100);
    const url = new URL(await goodSource(snapshot));
    url.username = "user";
    url.password = "secret";
    const [offer] = await sourcesOf([url.href]).sources.list();
    expect(offer!.source).not.toContain("secret");
  });

  test("sends the token of the file, and asks without where that cannot be read", async () => {
    const given: (string | undefined)[] = [];
    const source = await httpSource((request, response) => {
      given.push(request.headers.authorization);
      response.end(JSON.stringify({ snapshots: [] }));
    });
    const tokenFile = join(newFolder(), "token");
    const { sources, lines } = sourcesOf([source], { tokenFile });
    await sources.list();
    writeFileSync(tokenFile, TOKEN, { mode: 0o600 });
    await sources.list();
    expect(given).toEqual([undefined, `Bearer ${TOKEN}`]);
    expect(JSON.stringify(lines)).not.toContain(TOKEN);
  });
});

test("newestFirst() puts those that lack a stream behind those that have it", () => {
  const offer = (created_ms: number, positions: Record<string, string>) =>
    offerOf("x", anySnapshot(10, { created_ms, positions }));
  const sorted = newestFirst([
    offer(4, { s: "3000-0" }),
    offer(1, { s: "1000-0", t: "1000-0" }),
    offer(2, { s: "2000-0", t: "1500-9" }),
    offer(3, { s: "2000-0", t: "1500-0" }),
  ]);
  expect(sorted.map(({ manifest }) => manifest.created_ms)).toEqual([3, 2, 4, 1]);
});

describe("fetch()", () => {
  test("puts the file to its path, durable and whole, and leaves nothing else", async () => {
    const snapshot = anySnapshot(5_000_000);
    const { sources, folder, path } = sourcesOf([await goodSource(snapshot)]);
    const [offer] = await sources.list();
    await sources.fetch(offer!, path);
    expect(readFileSync(path).equals(snapshot.content)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(leftIn(folder)).toEqual([]);
  });

  test("resumes what is cut at any place, as often as it goes on", async () => {
    const snapshot = anySnapshot(300_000);
    const { manifest, packed, content } = snapshot;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 10_000, max: 120_000 }), { minLength: 1, maxLength: 10 }),
        async (cuts) => {
          const left = [...cuts];
          const ranges: string[] = [];
          const source = await rawSource((socket, head) => {
            const from = Number(/^range: bytes=(\d+)-$/im.exec(head)?.[1] ?? 0);
            ranges.push(head);
            const cut = left.shift();
            const body = cut === undefined ? packed.subarray(from) : packed.subarray(from, from + cut);
            const length = packed.length - from;
            socket.write(
              from === 0
                ? `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`
                : `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\n` +
                  `Content-Range: bytes ${from}-${packed.length - 1}/${packed.length}\r\n\r\n`,
            );
            socket.write(body);
            // Bytes that come together with the end of the connection are lost to `fetch` on Bun.
            if (body.length < length) {
              void until(() => sizeOf(part) === from + body.length).then(() => socket.destroy());
            }
          });
          const { sources, path, folder } = sourcesOf([source]);
          const part = join(folder, `part-${manifest.id}.zst`);
          await sources.fetch({ source, manifest }, path);
          expect(readFileSync(path).equals(content)).toBe(true);
          expect(ranges.length).toBeGreaterThan(1);
          for (const head of ranges.slice(1)) {
            expect(head.toLowerCase()).toContain(`if-range: "${manifest.id}"`);
          }
        },
      ),
      { numRuns: 15 },
    );
  }, 30_000);

  test("goes on where an earlier process was ended", async () => {
    const snapshot = anySnapshot(1_000_000);
    const asked: (string | undefined)[] = [];
    const good = await goodSource(snapshot);
    const source = await httpSource((request, response) => {
      asked.push(request.headers.range);
      void fetch(good + request.url, { headers: request.headers as Record<string, string> }).then(
        async (got) => {
          response.writeHead(got.status, Object.fromEntries(got.headers));
          response.end(new Uint8Array(await got.arrayBuffer()));
        },
      );
    });
    const { sources, folder, path } = sourcesOf([source]);
    await sources.list();
    const part = join(folderMade(folder), `part-${snapshot.manifest.id}.zst`);
    writeFileSync(part, snapshot.packed.subarray(0, 700_000));
    await sources.fetch(offerOf(source, snapshot), path);
    expect(asked.at(-1)).toBe("bytes=700000-");
    expect(readFileSync(path).equals(snapshot.content)).toBe(true);
    // All of it was there.
    asked.length = 0;
    writeFileSync(part, snapshot.packed);
    await sources.fetch(offerOf(source, snapshot), path);
    expect(asked).toEqual([]);
  });

  test("begins anew where what is left of an earlier one is wrong", async () => {
    const snapshot = anySnapshot(1_000_000);
    const source = await goodSource(snapshot);
    for (const left of [Buffer.alloc(snapshot.packed.length), Buffer.alloc(snapshot.packed.length + 1)]) {
      const { sources, folder, path } = sourcesOf([source]);
      writeFileSync(join(folderMade(folder), `part-${snapshot.manifest.id}.zst`), left);
      await sources.fetch(offerOf(source, snapshot), path);
      expect(readFileSync(path).equals(snapshot.content)).toBe(true);
    }
  });

  test("keeps the last of other broken downloads and no more", async () => {
    const snapshot = anySnapshot(1_000);
    const source = await goodSource(snapshot);
    const { sources, folder, path } = sourcesOf([source]);
    folderMade(folder);
    for (const name of ["a", "b", "c"]) writeFileSync(join(folder, `part-${name}.zst`), name);
    await sources.fetch(offerOf(source, snapshot), path);
    expect(leftIn(folder).length).toBe(1);
  });

  const snapshot = anySnapshot(200_000);
  const { packed, manifest } = snapshot;
  const header = `HTTP/1.1 200 OK\r\nContent-Length: ${packed.length}\r\n\r\n`;
  /** Each alone fails with the code; beside a good one that has the same snapshot, that one serves. */
  const bad: [string, string, () => Promise<string>][] = [
    ["is away", "replica.snapshot_unreachable", async () => `http://127.0.0.1:${await closedPort()}`],
    ["never answers", "replica.snapshot_too_slow", () => rawSource(() => {})],
    ["stalls", "replica.snapshot_too_slow", () =>
      rawSource((socket) => {
        socket.write(header);
        socket.write(packed.subarray(0, 100));
      })],
    ["trickles", "replica.snapshot_too_slow", () =>
      rawSource((socket) => {
        socket.write(header);
        let at = 0;
        const timer = setInterval(() => socket.write(packed.subarray(at, ++at)), 20);
        socket.on("close", () => clearInterval(timer));
      })],
    ["closes at once", "replica.snapshot_unreachable", () => rawSource((socket) => void socket.end())],
    ["closes early each time", "replica.snapshot_unreachable", () =>
      rawSource((socket) => {
        socket.write(header);
        socket.end(packed.subarray(0, 50));
      })],
    [
      "redirects",
      "replica.snapshot_refused",
      () => httpSource((_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end()),
    ],
    [
      "has no such thing",
      "replica.snapshot_refused",
      () => httpSource((_, response) => response.writeHead(404).end()),
    ],
    [
      "wants another token",
      "replica.snapshot_refused",
      () => httpSource((_, response) => response.writeHead(401).end()),
    ],
    [
      "is busy for ever",
      "replica.snapshot_refused",
      () => httpSource((_, response) => response.writeHead(503).end()),
    ],
    [
      "encodes",
      "replica.snapshot_refused",
      () =>
        httpSource((_, response) =>
          response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(packed))
        ),
    ],
    [
      "sends a part that nobody asked for",
      "replica.snapshot_refused",
      () =>
        httpSource((_, response) =>
          response.writeHead(206, { "content-range": `bytes 10-19/${packed.length}` }).end(
            packed.subarray(10, 20),
          )
        ),
    ],
    [
      "sends more than it said",
      "replica.snapshot_refused",
      () => httpSource((_, response) => response.end(Buffer.concat([packed, packed]))),
    ],
    [
      "sends other bytes",
      "replica.snapshot_damaged",
      () => httpSource((_, response) => response.end(Buffer.alloc(packed.length, 7))),
    ],
    ["sends one wrong byte", "replica.snapshot_damaged", () =>
      httpSource((_, response) => {
        const wrong = Buffer.from(packed);
        wrong[100_000]! ^= 1;
        response.end(wrong);
      })],
  ];
  for (const [what, code, make] of bad) {
    test(`a source that ${what} is ${code}, and another one serves`, async () => {
      const source = await make();
      const alone = sourcesOf([source], { limits: QUICK });
      const failure = await failureOf(alone.sources.fetch(offerOf(source, snapshot), alone.path));
      expect([failure.code, failure.message]).toEqual([code, expect.any(String)]);
      expect(existsSync(alone.path)).toBe(false);

      const good = await goodSource(snapshot);
      const both = sourcesOf([source, good], { limits: PATIENT });
      await both.sources.list();
      await both.sources.fetch(offerOf(source, snapshot), both.path);
      expect(readFileSync(both.path).equals(snapshot.content)).toBe(true);
    }, 20_000);
  }

  test("is not misled by one that offers other content under the same id", async () => {
    const lie = anySnapshot(1_000, { id: manifest.id, positions: { s: "9000-0" } });
    const { sources, path } = sourcesOf([await goodSource(lie), await goodSource(snapshot)]);
    const offers = await sources.list();
    expect(offers.map(({ manifest }) => manifest.sha256)).toEqual([lie.manifest.sha256, manifest.sha256]);
    await sources.fetch(offers[1]!, path);
    expect(readFileSync(path).equals(snapshot.content)).toBe(true);
  });

  test("waits for a source that is busy for a while", async () => {
    const good = await goodSource(snapshot);
    let busy = 3;
    const source = await httpSource((request, response) => {
      if (busy-- > 0) return void response.writeHead(503, { "retry-after": "5" }).end();
      void fetch(good + request.url).then(async (got) =>
        response.end(new Uint8Array(await got.arrayBuffer()))
      );
    });
    const { sources, path } = sourcesOf([source]);
    await sources.fetch(offerOf(source, snapshot), path);
    expect(readFileSync(path).equals(snapshot.content)).toBe(true);
  });

  test("refuses what unpacks to more or less than its manifest says, a bomb too", async () => {
    const bomb = zstdCompressSync(Buffer.alloc(200_000_000));
    const { sha256 } = { sha256: new Bun.CryptoHasher("sha256").update(bomb).digest("hex") };
    const lies: AnySnapshot[] = [
      anySnapshot(200_000, { file_bytes: 199_999 }),
      anySnapshot(200_000, { file_bytes: 200_001 }),
      anySnapshot(200_000, { sha256: "0".repeat(64) }),
      {
        packed: bomb,
        content: bomb,
        manifest: { ...manifest, bytes: bomb.length, sha256, file_bytes: 1_000_000 },
      },
    ];
    for (const lie of lies) {
      const source = await goodSource(lie);
      const { sources, folder, path } = sourcesOf([source]);
      const before = process.memoryUsage().rss;
      expect((await failureOf(sources.fetch(offerOf(source, lie), path))).code).toBe(
        "replica.snapshot_damaged",
      );
      expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
      expect(existsSync(path)).toBe(false);
      expect(leftIn(folder)).toEqual([]);
    }
  });

  test("asks for room first, and leaves no half file on a disk that fills", async () => {
    const big = anySnapshot(3_000_000);
    const source = await goodSource(big);
    const none = sourcesOf([source], { freeBytes: () => 100 });
    expect((await failureOf(none.sources.fetch(offerOf(source, big), none.path))).code)
      .toBe("replica.snapshot_no_room");
    expect(leftIn(none.folder)).toEqual([]);
    for (const bytes of [2_000_000, 5_000_000]) {
      const disk = smallDisk(bytes);
      if (disk === null) return console.log("skipped: no tmpfs can be mounted here");
      const full = sourcesOf([source], { folder: join(disk, "snapshots"), freeBytes: () => Infinity });
      expect((await failureOf(full.sources.fetch(offerOf(source, big), full.path))).code)
        .toBe("replica.snapshot_no_room");
      expect(existsSync(full.path)).toBe(false);
    }
  });
});

function folderMade(folder: string): string {
  mkdirSync(folder, { recursive: true });
  return folder;
}
