/** A command in a machine, as a worker runs it, for tests. */
import type { ClientHttp2Stream } from "node:http2";
import {
  creditOf,
  encodeCredit,
  encodeFrame,
  EXEC_PIECE_BYTES,
  EXEC_WINDOW_BYTES,
  FrameKind,
  FrameReader,
} from "../control/contract/exec-frames.ts";
import type { ExecExit, ExecRequest } from "../control/contract/guest-api.ts";
import type { GuestSession } from "./session.fixture.ts";

const DEFAULTS: ExecRequest = {
  argv: null,
  shell: null,
  env: {},
  cwd: null,
  user: null,
  terminal: null,
  stdin: false,
  timeout_ms: null,
  output_bytes_max: null,
};

export class TestExec {
  readonly stream: ClientHttp2Stream;
  /** Gives no credit while it is true, as a worker whose caller does not read. */
  isHeld = false;
  stdout = "";
  stderr = "";
  /** Of the guest's refusal, where it refused. */
  refusal = "";
  status = 0;
  readonly exit: Promise<ExecExit | null>;
  #stdinCredit = EXEC_WINDOW_BYTES;
  #heard = Promise.withResolvers<void>();

  constructor(
    session: GuestSession,
    request: Partial<ExecRequest> | { path: string; depth?: number },
    path = "/v1/exec",
  ) {
    this.stream = session.open("POST", path);
    this.send(FrameKind.open, JSON.stringify({ ...DEFAULTS, ...request }));
    const frames = new FrameReader("guest");
    let exit: ExecExit | null = null;
    this.stream.on("response", (headers) => this.status = Number(headers[":status"]));
    this.stream.on("data", (chunk: Buffer) => {
      if (this.status !== 200) return void (this.refusal += chunk.toString());
      for (const { kind, payload } of frames.push(chunk)) {
        const text = Buffer.from(payload).toString();
        const isOutput = kind === FrameKind.stdout || kind === FrameKind.stderr;
        if (isOutput && !this.isHeld && !this.stream.writableEnded) {
          this.stream.write(encodeCredit(FrameKind.credit, payload.length));
        }
        if (kind === FrameKind.stdout) this.stdout += text;
        else if (kind === FrameKind.stderr) this.stderr += text;
        else if (kind === FrameKind.stdinCredit) this.#stdinCredit += creditOf(payload);
        else if (kind === FrameKind.failure) this.refusal = `{"error":${text}}`;
        else if (kind === FrameKind.exit) exit = JSON.parse(text) as ExecExit;
      }
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    });
    this.stream.on("error", () => {});
    this.exit = new Promise((resolve) => {
      this.stream.on("end", () => resolve(exit));
      this.stream.on("close", () => resolve(exit));
    });
  }

  send(kind: FrameKind, payload: Uint8Array | string = ""): void {
    this.stream.write(encodeFrame(kind, payload));
  }

  /** As much stdin as there is, as fast as it is taken. */
  async feed(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += EXEC_PIECE_BYTES) {
      const piece = bytes.subarray(at, at + EXEC_PIECE_BYTES);
      while (this.#stdinCredit < piece.length) await this.#heard.promise;
      this.#stdinCredit -= piece.length;
      this.send(FrameKind.stdin, piece);
    }
  }

  /** Resolves once stdout holds the text. */
  async says(text: string): Promise<void> {
    while (!this.stdout.includes(text)) await this.#heard.promise;
  }
}
