/**
 * One command, from the frame that opens it to the one that tells its exit code (control/contract/exec-frames.ts). Nothing
 * is kept here: what the command writes is read only as fast as the worker takes it, and the other way round.
 */
import { closeSync, fchownSync, openSync } from "node:fs";
import {
  encodeFrame,
  EXEC_CONTENT_TYPE,
  type Frame,
  FrameKind,
  FrameReader,
} from "../../control/contract/exec-frames.ts";
import type { ExecExit, ExecRequest } from "../../control/contract/guest-api.ts";
import { exitOf } from "../child/exit.ts";
import { endOf } from "../child/reap.ts";
import { endSession, killSession } from "../child/session.ts";
import { BootError, messageOf } from "../system/error.ts";
import { Descriptor } from "../system/descriptor.ts";
import { kill, openPipe, signalNumber, withIdentity } from "../system/process.ts";
import { spawnSession } from "../system/spawn.ts";
import { openTerminal, resizeTerminal } from "../system/terminal.ts";
import { makeNonBlocking, writeAll } from "../system/write-all.ts";
import { objectOf, Refusal, send, type Stream, wireOf } from "./answer.ts";
import { type ExecGround, type Execs, type Plan, planOf } from "./execs.ts";
import { type Output, relayOutput } from "./relay-output.ts";

/** What a terminal in its usual mode takes for the end of its input (termios(3), VEOF). */
const END_OF_INPUT = Uint8Array.of(4);

/** The command's ends of what it is connected by, and ours. */
interface Wires {
  readonly stdio: string | readonly [number, number, number];
  /** To be closed here once the command has them. */
  readonly theirs: readonly number[];
  /** A pipe's end, or the terminal. */
  readonly stdin: Descriptor | null;
  readonly terminal: Descriptor | null;
  readonly outputs: readonly { readonly from: Descriptor; readonly kind: Output }[];
}

export async function runExec(stream: Stream, execs: Execs): Promise<void> {
  const frames = framesOf(stream);
  const ground = execs.enter();
  try {
    const request = await readRequest(frames);
    const plan = planOf(request, ground.config);
    const wires = connect(request, plan);
    const pid = start(plan, wires, ground);
    const ended = endOf(pid);
    stream.respond({ ":status": 200, "content-type": EXEC_CONTENT_TYPE });
    await converse(stream, frames, request, { pid, ended, wires });
  } finally {
    execs.leave();
  }
}

interface Running {
  readonly pid: number;
  readonly ended: ReturnType<typeof endOf>;
  readonly wires: Wires;
}

async function converse(
  stream: Stream,
  frames: AsyncIterator<Frame>,
  request: ExecRequest,
  { pid, ended, wires }: Running,
): Promise<void> {
  let over = false;
  let timedOut = false;
  const breakOff = () => {
    if (!over) void endSession(pid);
  };
  stream.once("close", breakOff);
  const timer = request.timeout_ms === null ? null : setTimeout(() => {
    timedOut = true;
    killSession(pid);
  }, request.timeout_ms);
  // A caller that goes away, or breaks the rules, is hung up on, and its command with it. Nobody waits for this: a caller
  // may keep its side open for longer than the command lives.
  hear(frames, pid, wires, () => over || stream.destroyed).catch(() => stream.destroy());
  const outputs = wires.outputs.map(({ from, kind }) =>
    relayOutput({ stream, from, kind, ended: ended.then(() => {}), bytesMax: request.output_bytes_max })
  );
  try {
    const end = await ended;
    // From here on the number may be another process's.
    over = true;
    const [stdoutLost = 0, stderrLost = 0] = await Promise.all(outputs);
    const { exit_code, signal } = exitOf(end, { kills: 0, scope: null }, 0);
    const exit: ExecExit = {
      exit_code,
      signal,
      timed_out: timedOut,
      stdout_lost_bytes: stdoutLost,
      stderr_lost_bytes: stderrLost,
    };
    if (await send(stream, encodeFrame(FrameKind.exit, JSON.stringify(exit)))) stream.end();
  } catch (error) {
    if (await send(stream, encodeFrame(FrameKind.failure, JSON.stringify(wireOf(error))))) stream.end();
  } finally {
    over = true;
    if (timer !== null) clearTimeout(timer);
    stream.off("close", breakOff);
    closeAll(wires);
  }
}

function closeAll({ stdin, terminal, outputs }: Wires): void {
  for (const one of [stdin, terminal, ...outputs.map(({ from }) => from)]) one?.close();
}

async function* framesOf(stream: Stream): AsyncGenerator<Frame, void, void> {
  const reader = new FrameReader("caller");
  for await (const chunk of stream) yield* reader.push(chunk);
}

async function readRequest(frames: AsyncIterator<Frame>): Promise<ExecRequest> {
  const { value, done } = await frames.next();
  if (done === true || value.kind !== FrameKind.open) {
    throw new BootError("Cannot run a command: its first frame does not open it");
  }
  // The worker has parsed it; what is asked of the kernel is checked there.
  return objectOf(value.payload) as unknown as ExecRequest;
}

function connect(request: ExecRequest, { user }: Plan): Wires {
  if (request.terminal !== null) {
    const { master, path } = openTerminal(request.terminal, user.uid);
    const terminal = new Descriptor(master);
    return {
      stdio: path,
      theirs: [],
      stdin: terminal,
      terminal,
      outputs: [{ from: terminal, kind: FrameKind.stdout }],
    };
  }
  const [stdout, stderr] = [openPipe(), openPipe()];
  // A program may open /dev/stdout by its path: the pipe must belong to its user.
  for (const { writeEnd } of [stdout, stderr]) fchownSync(writeEnd, user.uid, user.gid);
  const stdin = request.stdin ? openPipe() : { readEnd: openSync("/dev/null", "r"), writeEnd: null };
  if (stdin.writeEnd !== null) makeNonBlocking(stdin.writeEnd);
  const theirs = [stdin.readEnd, stdout.writeEnd, stderr.writeEnd] as const;
  return {
    stdio: theirs,
    theirs,
    stdin: stdin.writeEnd === null ? null : new Descriptor(stdin.writeEnd),
    terminal: null,
    outputs: [
      { from: new Descriptor(stdout.readEnd), kind: FrameKind.stdout },
      { from: new Descriptor(stderr.readEnd), kind: FrameKind.stderr },
    ],
  };
}

function start(plan: Plan, wires: Wires, { placed }: ExecGround): number {
  try {
    return placed(() => withIdentity(plan.user, () => spawnSession({ ...plan, stdio: wires.stdio })));
  } catch (error) {
    closeAll(wires);
    const who = `${plan.user.uid}:${plan.user.gid}`;
    throw new Refusal(
      "guest.exec_failed",
      `Cannot run "${plan.argv[0]}" as ${who} in ${plan.workingFolder}: ${messageOf(error)}`,
    );
  } finally {
    for (const fd of wires.theirs) closeSync(fd);
  }
}

/** Does what the caller says until there is no more of it. */
async function hear(
  frames: AsyncIterator<Frame>,
  pid: number,
  { stdin, terminal }: Wires,
  isOver: () => boolean,
): Promise<void> {
  let open = stdin !== null;
  const end = async () => {
    if (!open || isOver()) return;
    open = false;
    if (terminal === null) stdin!.close();
    else await writeAll(terminal.fd, END_OF_INPUT, isOver);
  };
  for (;;) {
    const { value, done } = await frames.next();
    if (done === true) break;
    const { kind, payload } = value;
    if (isOver()) continue;
    if (kind === FrameKind.stdin && open) open = await writeAll(stdin!.fd, payload, isOver);
    else if (kind === FrameKind.stdinEnd) await end();
    else if (kind === FrameKind.resize && terminal !== null) resizeTerminal(terminal.fd, sizeOf(payload));
    else if (kind === FrameKind.signal) kill(-pid, signalOf(payload));
  }
  await end();
}

function sizeOf(payload: Uint8Array): { columns: number; rows: number } {
  const { columns, rows } = objectOf(payload);
  if (typeof columns === "number" && typeof rows === "number") return { columns, rows };
  throw new BootError("Cannot resize: columns and rows must be numbers");
}

function signalOf(payload: Uint8Array): number {
  const name = Buffer.from(payload).toString();
  const number = signalNumber(name);
  if (number === null) {
    throw new BootError(`Cannot send the signal "${name.slice(0, 32)}": there is none of this name`);
  }
  return number;
}
