/** A worker's side of the control API, as small as a test needs it. */
import http2 from "node:http2";
import net from "node:net";

const CONNECT_WAIT_MS = 20_000;
const CONNECT_POLL_MS = 20;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export class GuestSession {
  readonly #session: http2.ClientHttp2Session;
  readonly #socket: net.Socket;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#session = http2.connect("http://guest", { createConnection: () => socket });
    // Requests that are cut off reject by themselves.
    this.#session.on("error", () => {});
  }

  /** Waits until the unix socket is there. */
  static async connect(path: string): Promise<GuestSession> {
    const deadline = performance.now() + CONNECT_WAIT_MS;
    for (;;) {
      const socket = await new Promise<net.Socket | Error>((resolve) => {
        const opened = net.connect(path);
        opened.once("connect", () => resolve(opened));
        opened.once("error", resolve);
      });
      if (socket instanceof net.Socket) return new GuestSession(socket);
      if (performance.now() > deadline) throw socket;
      await Bun.sleep(CONNECT_POLL_MS);
    }
  }

  request(method: string, path: string, body?: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const stream = this.#session.request({ ":method": method, ":path": path });
      let status = 0;
      let text = "";
      stream.setEncoding("utf8");
      stream.on("response", (headers) => status = Number(headers[":status"]));
      stream.on("data", (chunk: string) => text += chunk);
      stream.on("end", () => resolve({ status, text }));
      stream.on("error", reject);
      stream.on("close", () => reject(new Error(`${method} ${path} was cut off`)));
      stream.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** A request whose body follows, and its stream. */
  open(method: string, path: string): http2.ClientHttp2Stream {
    return this.#session.request({ ":method": method, ":path": path });
  }

  /** The first line of the machine's log, as soon as there is one. */
  firstLogLine(): Promise<string> {
    return new Promise((resolve, reject) => {
      const stream = this.#session.request({ ":path": "/v1/logs?from=0" });
      let text = "";
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => {
        text += chunk;
        if (!text.includes("\n")) return;
        resolve((JSON.parse(text.split("\n")[0]!) as { line: string }).line);
        stream.close();
      });
      stream.on("error", reject);
      stream.on("close", () => reject(new Error("the log was cut off")));
      stream.end();
    });
  }

  async get<T>(path: string): Promise<T> {
    return JSON.parse((await this.request("GET", path)).text) as T;
  }

  close(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }
}
