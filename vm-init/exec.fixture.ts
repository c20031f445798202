/** A command in a machine, as a worker runs it, for tests. */
import type { ClientHttp2Stream } from "node:http2";
import { encodeFrame, FrameKind, FrameReader } from "../control/contract/exec-frames.ts";
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
  stdout = "";
  stderr = "";
  /** Of the guest's refusal, where it refused. */
  refusal = "";
  status = 0;
  readonly exit: Promise<ExecExit | null>;
  #heard = Promise.withResolvers<void>();

  constructor(session: GuestSession, request: Partial<ExecRequest>) {
    this.stream = session.open("POST", "/v1/exec");
    this.send(FrameKind.open, JSON.stringify({ ...DEFAULTS, ...request }));
    const frames = new FrameReader("guest");
    let exit: ExecExit | null = null;
    this.stream.on("response", (headers) => this.status = Number(headers[":status"]));
    this.stream.on("data", (chunk: Buffer) => {
      if (this.status !== 200) return void (this.refusal += chunk.toString());
      for (const { kind, payload } of frames.push(chunk)) {
        const text = Buffer.from(payload).toString();
        if (kind === FrameKind.stdout) this.stdout += text;
        else if (kind === FrameKind.stderr) this.stderr += text;
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

  /** Resolves once stdout holds the text. */
  async says(text: string): Promise<void> {
    while (!this.stdout.includes(text)) await this.#heard.promise;
  }
}
