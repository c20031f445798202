/**
 * A command whose caller stays connected: its frames go into the guest, the guest's come out, each checked here. Whoever
 * goes away first ends it for all.
 */
import {
  encodeFrame,
  EXEC_PING_INTERVAL_MS,
  type Frame,
  FrameKind,
  FrameReader,
} from "../../contract/exec-frames.ts";
import { messageOf } from "../../contract/errors.ts";
import { ExecRequest, TerminalSize } from "../../contract/guest-api.ts";
import type { GuestClient } from "../vmm/guest-client.ts";
import type { GuestChannel } from "../vmm/guest-channel.ts";
import { within } from "../backoff.ts";
import { toGodwitError } from "./errors.ts";
import { invalid, jsonOf, parse } from "./input.ts";
import { streamOf } from "./stream-of.ts";

/** From the request's head to the frame that opens the command. */
const OPEN_WAIT_MS = 10_000;
const SIGNAL_NAME = /^[A-Z0-9+-]{1,16}$/;

export async function execStream(
  guest: GuestClient,
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const frames = framesOf(body);
  const request = await opening(frames, signal);
  const exec = await guest.openExec(request, { signal });
  const close = () => exec.close();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  // What the caller does wrong ends the command; it hears of it as of any end.
  forward(frames, exec).catch(close);
  return streamOf(answerOf(exec, () => signal.removeEventListener("abort", close)));
}

async function* framesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Frame, void, void> {
  const reader = new FrameReader("caller");
  for await (const chunk of body ?? []) yield* framesIn(reader, chunk);
}

function framesIn(reader: FrameReader, chunk: Uint8Array): Frame[] {
  try {
    return reader.push(chunk);
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

async function opening(
  frames: AsyncGenerator<Frame, void, void>,
  signal: AbortSignal,
): Promise<ExecRequest> {
  const first = await within(frames.next(), OPEN_WAIT_MS, signal);
  if (first?.value?.kind !== FrameKind.open) {
    throw invalid(`its first frame, within ${OPEN_WAIT_MS / 1_000} s, must open a command`);
  }
  return parse(ExecRequest, jsonOf(Buffer.from(first.value.payload).toString()), "command");
}

async function forward(frames: AsyncGenerator<Frame, void, void>, exec: GuestChannel): Promise<void> {
  for await (const { kind, payload } of frames) {
    if (kind === FrameKind.ping) continue;
    if (kind === FrameKind.open) throw invalid("a command is opened once");
    if (kind === FrameKind.credit) throw invalid("credit is the worker's to give");
    if (kind === FrameKind.resize) parse(TerminalSize, jsonOf(Buffer.from(payload).toString()), "size");
    if (kind === FrameKind.signal && !SIGNAL_NAME.test(Buffer.from(payload).toString())) {
      throw invalid("a signal is named like SIGTERM");
    }
    if (!await exec.send(kind, payload)) return;
  }
  // A caller that has no more to say has no more stdin either. The stream stays open for credit.
  await exec.send(FrameKind.stdinEnd);
}

async function* answerOf(exec: GuestChannel, onEnd: () => void): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield encodeFrame(FrameKind.started);
    const frames = exec.frames();
    for (let next = frames.next();;) {
      const result = await within(next, EXEC_PING_INTERVAL_MS);
      if (result === null) {
        yield encodeFrame(FrameKind.alive);
        continue;
      }
      if (result.done === true) return;
      const frame = result.value;
      yield frame.kind === "exit"
        ? encodeFrame(FrameKind.exit, JSON.stringify(frame.exit))
        : encodeFrame(FrameKind[frame.kind], frame.bytes);
      next = frames.next();
    }
  } catch (error) {
    yield encodeFrame(FrameKind.failure, JSON.stringify(toGodwitError(error).toWire()));
  } finally {
    onEnd();
    exec.close();
  }
}
