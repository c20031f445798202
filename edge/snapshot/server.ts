/**
 * Serves a replica's snapshots to others (control/contract/snapshots.ts), in the replicator's process: the relay has no part
 * in it. Few at once and at a common pace, so that a fleet that begins anew takes neither this edge's disk nor its network
 * from its clients; who is turned away tries again.
 */
import { open as openFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { pause } from "../replica/pause.ts";
import type { SnapshotFolder } from "./folder.ts";
import { SharedPace } from "./pace.ts";
import { type ByteRange, rangeOf } from "./range.ts";
import { bearsToken } from "./token.ts";

export const SNAPSHOTS_PATH = "/replica/snapshots";

export interface SnapshotServerLimits {
  readonly connectionsMax: number;
  readonly downloadsMax: number;
  /** Of all downloads together. */
  readonly bytesPerS: number;
  readonly requestMsMax: number;
  /** A client that takes nothing for so long is gone. */
  readonly stallMsMax: number;
  /** One that is cut off then goes on with another request. */
  readonly downloadMsMax: number;
}
export const SERVER_LIMITS: SnapshotServerLimits = {
  connectionsMax: 64,
  downloadsMax: 8,
  bytesPerS: 64 * 1_048_576,
  requestMsMax: 10_000,
  stallMsMax: 20_000,
  downloadMsMax: 600_000,
};
const CHUNK_BYTES = 262_144;
const RETRY_AFTER_S = 5;

export interface SnapshotServerOptions {
  readonly folder: SnapshotFolder;
  readonly listen: { readonly address: string; readonly port: number };
  /** Asked for, where there is one; a listener beyond loopback needs one. */
  readonly token: string | null;
  readonly log: Logger;
  readonly limits?: Partial<SnapshotServerLimits>;
}

export class SnapshotServer {
  readonly #options: SnapshotServerOptions;
  readonly #limits: SnapshotServerLimits;
  readonly #server: Server;
  readonly #pace: SharedPace;
  readonly #stop = new AbortController();
  /** Connections that a request has come on. */
  readonly #asked = new WeakSet<Socket>();
  #downloads = 0;
  #served = 0;
  #refused = 0;

  /** @throws GodwitError `replica.snapshot_listener_open` */
  constructor(options: SnapshotServerOptions) {
    this.#options = options;
    const limits = this.#limits = { ...SERVER_LIMITS, ...options.limits };
    this.#pace = new SharedPace(limits.bytesPerS);
    if (options.token === null && !isLoopback(options.listen.address)) {
      const { address, port } = options.listen;
      throw new GodwitError(
        "replica.snapshot_listener_open",
        `Cannot serve snapshots at ${address}:${port}: it is not loopback, and snapshot_token_file is not set`,
        { fault: "client", hint: "set snapshot_token_file, the same on every edge of the fleet" },
      );
    }
    const server = this.#server = createServer((request, response) => void this.#answer(request, response));
    server.maxConnections = limits.connectionsMax;
    server.requestTimeout = server.headersTimeout = limits.requestMsMax;
    server.keepAliveTimeout = limits.requestMsMax;
    // Deno heeds none of these for a connection that never says anything, and Bun waits longer for one that says half.
    server.on("connection", (socket) => {
      const timer = setTimeout(() => {
        if (!this.#asked.has(socket)) socket.destroy();
      }, limits.requestMsMax);
      socket.once("close", () => clearTimeout(timer));
    });
  }

  /** Rejects where the address is taken or is not ours. @returns the port */
  listen(): Promise<number> {
    const { address, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, address, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.#options.log.warn({ err: messageOf(error) }, "snapshots"));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  status() {
    return { downloads: this.#downloads, served: this.#served, refused: this.#refused };
  }

  /** Downloads under way are cut off: their clients go on elsewhere. */
  stop(): Promise<void> {
    this.#stop.abort();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {}); // it closes, too
    this.#asked.add(request.socket);
    try {
      await this.#respond(request, response);
    } catch (error) {
      this.#options.log.warn({ err: messageOf(error) }, "a snapshot could not be served");
      response.destroy();
    }
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { folder, token } = this.#options;
    if (token !== null && !bearsToken(request.headers.authorization, token)) {
      response.setHeader("www-authenticate", 'Bearer realm="godwit snapshots"');
      return this.#refuse(request, response, 401, TOKEN_WRONG);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return this.#refuse(request, response, 405, NOT_FOUND);
    }
    const path = request.url ?? "/";
    if (path === SNAPSHOTS_PATH) {
      return sendJson(request, response, 200, { snapshots: folder.list().slice(0, 16) });
    }
    // Only what has the form of an id is ever looked for, and only below its own manifest.
    const id = path.startsWith(`${SNAPSHOTS_PATH}/`) ? path.slice(SNAPSHOTS_PATH.length + 1) : "";
    const manifest = folder.find(id);
    if (manifest === null) return this.#refuse(request, response, 404, NOT_FOUND);
    if (request.method === "GET" && this.#downloads >= this.#limits.downloadsMax) {
      response.setHeader("retry-after", String(RETRY_AFTER_S));
      return this.#refuse(request, response, 503, BUSY);
    }
    this.#downloads++;
    const release = folder.hold(manifest.id);
    try {
      await this.#download(request, response, manifest);
    } finally {
      release();
      this.#downloads--;
    }
  }

  async #download(
    request: IncomingMessage,
    response: ServerResponse,
    manifest: SnapshotManifest,
  ): Promise<void> {
    const { folder, log } = this.#options;
    const { id, bytes } = manifest;
    const etag = `"${id}"`;
    const { range: asked, "if-range": ifRange } = request.headers;
    const range = request.method === "GET"
      ? rangeOf(asked, ifRange as string | undefined, etag, bytes)
      : null;
    response.setHeader("etag", etag);
    response.setHeader("accept-ranges", "bytes");
    if (range === "unsatisfiable") {
      response.setHeader("content-range", `bytes */${bytes}`);
      response.writeHead(416, { "content-length": 0 });
      return void response.end();
    }
    const { first, last } = range ?? { first: 0, last: bytes - 1 };
    if (range !== null) response.setHeader("content-range", `bytes ${first}-${last}/${bytes}`);
    response.writeHead(range === null ? 200 : 206, {
      "content-type": "application/zstd",
      "content-length": last - first + 1,
      "cache-control": "no-store",
    });
    if (request.method === "HEAD") return void response.end();
    const startedMs = performance.now();
    let sent = 0;
    try {
      sent = await this.#send(folder.dataPath(id), { first, last }, response);
    } finally {
      this.#served += sent;
      log.info({
        snapshot: id,
        client: request.socket?.remoteAddress ?? null,
        ...{ first, last, sent, whole: sent === last - first + 1 },
        took_ms: Math.round(performance.now() - startedMs),
      }, "snapshot served");
    }
  }

  /** @returns how much was sent; less than the range where the client left, stalled or took too long */
  async #send(path: string, { first, last }: ByteRange, response: ServerResponse): Promise<number> {
    const { stallMsMax, downloadMsMax } = this.#limits;
    const endMs = performance.now() + downloadMsMax;
    const gone = new AbortController();
    const leave = () => gone.abort();
    response.on("close", leave);
    this.#stop.signal.addEventListener("abort", leave);
    const file = await openFile(path, "r");
    let at = first;
    try {
      while (at <= last && !gone.signal.aborted) {
        // A buffer of its own for each: the one before may not have left yet.
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, last - at + 1));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) throw new Error(`${path} is shorter than it was`);
        const waitMs = this.#pace.take(bytesRead, performance.now());
        if (waitMs > 0) await pause(waitMs, gone.signal);
        if (gone.signal.aborted) break;
        const taken = response.write(buffer.subarray(0, bytesRead));
        if (
          !taken && !await drained(response, Math.min(stallMsMax, endMs - performance.now()), gone.signal)
        ) break;
        at += bytesRead;
        if (performance.now() > endMs) break;
      }
    } finally {
      response.off("close", leave);
      this.#stop.signal.removeEventListener("abort", leave);
      await file.close();
      if (at <= last) response.destroy();
      else response.end();
    }
    return at - first;
  }

  #refuse(request: IncomingMessage, response: ServerResponse, status: number, error: GodwitError): void {
    this.#refused++;
    sendJson(request, response, status, { error: error.toWire() });
  }
}

const TOKEN_WRONG = new GodwitError(
  "replica.snapshot_token_wrong",
  "This is not the token of these snapshots",
  {
    fault: "client",
    hint: "snapshot_token_file must hold the same on every edge of the fleet",
  },
);
const NOT_FOUND = new GodwitError("replica.snapshot_not_found", "There is no such snapshot here", {
  fault: "client",
  hint: `GET ${SNAPSHOTS_PATH} lists those that there are`,
});
const BUSY = new GodwitError("replica.snapshot_busy", "As many snapshots as may be are being served", {
  fault: "us",
  retryable: true,
  hint: "try again a little later, or elsewhere",
});

function sendJson(request: IncomingMessage, response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(request.method === "HEAD" ? "" : text);
}

/** @returns false where the client took nothing for so long, or left */
function drained(response: ServerResponse, waitMsMax: number, gone: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (taken: boolean) => {
      clearTimeout(timer);
      response.off("drain", onDrain);
      gone.removeEventListener("abort", onGone);
      resolve(taken);
    };
    const onDrain = () => end(true);
    const onGone = () => end(false);
    const timer = setTimeout(onGone, Math.max(0, waitMsMax));
    response.on("drain", onDrain);
    gone.addEventListener("abort", onGone);
    if (gone.aborted) onGone();
  });
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127(\.\d{1,3}){3}$/.test(address);
}
