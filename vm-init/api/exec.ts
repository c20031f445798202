/**
 * One command, from the frame that opens it to the one that tells its exit code (control/contract/exec-frames.ts). Nothing
 * is kept here: what the command writes is read only as fast as the worker takes it, and the other way round.
 */
import { closeSync, fchownSync, openSync } from "node:fs";
import { FrameKind } from "../../control/contract/exec-frames.ts";
import type { ExecExit, ExecRequest } from "../../control/contract/guest-api.ts";
import { exitOf } from "../child/exit.ts";
import { endOf } from "../child/reap.ts";
import { type CommandPlace, hangUp } from "../child/session.ts";
import { BootError, messageOf } from "../system/error.ts";
import { Descriptor } from "../system/descriptor.ts";
import { kill, openPipe, signalNumber, withIdentity } from "../system/process.ts";
import { spawnSession } from "../system/spawn.ts";
import { openTerminal, resizeTerminal } from "../system/terminal.ts";
import { makeNonBlocking } from "../system/write-all.ts";
import { objectOf, Refusal, type Stream } from "./answer.ts";
import { Channel, type Output } from "./channel.ts";
import { type Execs, type Plan, planOf } from "./execs.ts";
import { relayOutput } from "./relay-output.ts";
import { StdinFeed } from "./stdin-feed.ts";

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
  const channel = new Channel(stream);
  const ground = execs.enter();
  try {
    // The worker has parsed it; what is asked of the kernel is checked there.
    const request = await channel.opening() as unknown as ExecRequest;
    const plan = planOf(request, ground.config);
    const wires = connect(request, plan);
    const place = ground.command();
    const pid = start(plan, wires, place);
    const ended = endOf(pid);
    channel.accept();
    await converse(channel, request, { pid, place, ended, wires });
  } finally {
    execs.leave();
  }
}

interface Running {
  readonly pid: number;
  readonly place: CommandPlace;
  readonly ended: ReturnType<typeof endOf>;
  readonly wires: Wires;
}

async function converse(
  channel: Channel,
  request: ExecRequest,
  { pid, place, ended, wires }: Running,
): Promise<void> {
  const { stream } = channel;
  let over = false;
  let timedOut = false;
  const breakOff = () => {
    if (!over) void hangUp(pid, place);
  };
  stream.once("close", breakOff);
  const timer = request.timeout_ms === null ? null : setTimeout(() => {
    timedOut = true;
    place.kill(pid);
  }, request.timeout_ms);
  // A caller that goes away, or breaks the rules, is hung up on, and its command with it. Nobody waits for this: a caller
  // may keep its side open for longer than the command lives.
  hear(channel, pid, wires, () => over || stream.destroyed).catch(() => stream.destroy());
  const outputs = wires.outputs.map(({ from, kind }) =>
    relayOutput({ channel, from, kind, ended: ended.then(() => {}), bytesMax: request.output_bytes_max })
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
    await channel.end(exit);
  } catch (error) {
    await channel.fail(error);
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

function start(plan: Plan, wires: Wires, place: CommandPlace): number {
  try {
    return place.start(() => withIdentity(plan.user, () => spawnSession({ ...plan, stdio: wires.stdio })));
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
  channel: Channel,
  pid: number,
  { stdin, terminal }: Wires,
  isOver: () => boolean,
): Promise<void> {
  const feed = new StdinFeed({ stream: channel.stream, to: stdin, isTerminal: terminal !== null, isOver });
  for await (const { kind, payload } of channel.heard()) {
    if (isOver()) continue;
    if (kind === FrameKind.stdin) feed.push(payload);
    else if (kind === FrameKind.stdinEnd) feed.end();
    else if (kind === FrameKind.resize && terminal !== null) resizeTerminal(terminal.fd, sizeOf(payload));
    else if (kind === FrameKind.signal) kill(-pid, signalOf(payload));
  }
  feed.end();
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
