/** A command from its start to its end, what it wrote kept up to a bound. */
import { assert } from "../../contract/errors.ts";
import { EXEC_FRAME_BYTES_MAX, FrameKind } from "../../contract/exec-frames.ts";
import type { ExecExit, ExecRequest } from "../../contract/guest-api.ts";
import { GuestChannel } from "./guest-channel.ts";
import {
  type Call,
  CALL_TIMEOUT_MS,
  type CallOptions,
  type GuestSession,
  protocolError,
} from "./guest-session.ts";

export const EXEC_PATH = "/v1/exec";

export interface Ran {
  readonly exit: ExecExit;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** `request` must hold `timeout_ms` and `output_bytes_max`. @throws GodwitError */
export async function runToEnd(
  session: GuestSession,
  request: ExecRequest,
  stdin: Uint8Array,
  options: CallOptions,
): Promise<Ran> {
  const { timeout_ms: timeoutMs, output_bytes_max: bytesMax } = request;
  assert(timeoutMs !== null && bytesMax !== null, "a command that is run to its end has limits");
  const exec = await GuestChannel.open(session, EXEC_PATH, request, options);
  const call: Call = { method: "POST", path: EXEC_PATH };
  try {
    void feed(exec, stdin);
    return await session.within(call, options, timeoutMs + CALL_TIMEOUT_MS, () => collect(exec, bytesMax));
  } finally {
    exec.close();
  }
}

async function feed(exec: GuestChannel, stdin: Uint8Array): Promise<void> {
  for (let at = 0; at < stdin.length; at += EXEC_FRAME_BYTES_MAX) {
    if (!await exec.send(FrameKind.stdin, stdin.subarray(at, at + EXEC_FRAME_BYTES_MAX))) return;
  }
  // Not the end of the stream: credit is still to be given on it.
  await exec.send(FrameKind.stdinEnd);
}

async function collect(exec: GuestChannel, bytesMax: number): Promise<Ran> {
  const outputs = { stdout: new Output(bytesMax), stderr: new Output(bytesMax) };
  for await (const frame of exec.frames()) {
    if (frame.kind !== "exit") outputs[frame.kind].add(frame.bytes);
    else return { exit: frame.exit, stdout: outputs.stdout.bytes(), stderr: outputs.stderr.bytes() };
  }
  throw protocolError("it ended a command without its exit code");
}

/** A guest keeps to the bound by itself; one that does not is broken. */
class Output {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(readonly bytesMax: number) {}

  add(bytes: Uint8Array): void {
    this.#length += bytes.length;
    if (this.#length > this.bytesMax) throw protocolError(`a command wrote more than ${this.bytesMax} bytes`);
    this.#chunks.push(bytes);
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}
