/** Processes: signals, waiting, identity, limits, pipes. */
import { constants } from "node:os";
import { codeOf } from "./error.ts";
import { check, errno, libc } from "./libc.ts";

const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
/** sizeof(siginfo_t), and where its fields stand on 64-bit Linux. */
const SIGINFO_BYTES = 128;
const SI_CODE_OFFSET = 8;
const SI_PID_OFFSET = 16;
const SI_STATUS_OFFSET = 24;
const CLD_EXITED = 1;

/** bits/resource.h. */
const RLIMITS = {
  fsize: 1,
  stack: 3,
  core: 4,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
} as const;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;
const PR_CAPBSET_DROP = 24;
const CAP_NET_ADMIN = 12;
const O_CLOEXEC = 0o2000000;
const KEEP = 0xffffffff;

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** As programs see them: glibc keeps two of the kernel's for itself (signal(7)). */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/**
 * The number of a signal as images name it (StopSignal of image-spec, config.md): `SIGTERM`, `TERM`, `SIGRTMIN+3`,
 * `SIGRTMAX-1` or a number. Null where there is none.
 */
export function signalNumber(name: string): number | null {
  const number = /^\d{1,2}$/.test(name) ? Number(name) : numberOf(name.replace(/^SIG/, ""));
  return number !== null && number >= 1 && number <= SIGRTMAX ? number : null;
}

function numberOf(bare: string): number | null {
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(bare);
  if (realTime === null) return (constants.signals as Record<string, number>)[`SIG${bare}`] ?? null;
  const number = (realTime[1] === "MIN" ? SIGRTMIN : SIGRTMAX) +
    Number(`${realTime[2] ?? ""}${realTime[3] ?? 0}`);
  return number >= SIGRTMIN ? number : null;
}

/** False where the process (or any process, for -1) is gone. */
export function kill(pid: number, signal: number): boolean {
  try {
    check(libc.kill(pid, signal), `kill ${pid} with signal ${signal}`);
    return true;
  } catch (error) {
    if (codeOf(error) === "ESRCH") return false;
    throw error;
  }
}

/** The next child that has ended, left as it is; null where there is none. */
export function peekEndedChild(): number | null {
  const info = new Uint8Array(SIGINFO_BYTES);
  const result = libc.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT, null);
  if (result < 0) {
    if (errno() === constants.errno.ECHILD) return null;
    check(result, "waitid of any child");
  }
  const pid = new DataView(info.buffer).getInt32(SI_PID_OFFSET, true);
  return pid === 0 ? null : pid;
}

/** How a process ended; just one of the two is set. */
export interface ChildEnd {
  readonly exitCode: number | null;
  /** A number where it has no name (real-time signals). */
  readonly signal: string | number | null;
}

export function reapChild(pid: number): ChildEnd {
  const info = new Uint8Array(SIGINFO_BYTES);
  check(libc.waitid(P_PID, pid, info, WEXITED | WNOHANG, null), `waitid of ${pid}`);
  const view = new DataView(info.buffer);
  const status = view.getInt32(SI_STATUS_OFFSET, true);
  if (view.getInt32(SI_CODE_OFFSET, true) === CLD_EXITED) return { exitCode: status, signal: null };
  return { exitCode: null, signal: signalName(status) ?? status };
}

function signalName(number: number): string | null {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}

/**
 * Runs `work` as somebody else and comes back. What is started meanwhile keeps that identity for good: its exec makes
 * the effective user the saved one, and drops all capabilities of one who is not root. (`Bun.spawn` takes uid and gid,
 * but clears the supplementary groups.)
 */
export function withIdentity<T>(identity: Identity, work: () => T): T {
  setGroups(identity.groups);
  try {
    check(libc.setresgid(identity.gid, identity.gid, 0), `setresgid ${identity.gid}`);
    check(libc.setresuid(identity.uid, identity.uid, 0), `setresuid ${identity.uid}`);
    return work();
  } finally {
    check(libc.setresuid(0, 0, 0), "setresuid 0");
    check(libc.setresgid(0, 0, 0), "setresgid 0");
    setGroups([]);
  }
}

function setGroups(groups: readonly number[]): void {
  // One spare element, because an empty array has no address.
  const list = Uint32Array.from([...groups, KEEP]);
  check(libc.setgroups(BigInt(groups.length), list), `setgroups ${groups.join(",")}`);
}

export interface Limit {
  readonly name: keyof typeof RLIMITS;
  readonly soft: number | "unlimited";
  readonly hard: number | "unlimited";
}

/** For this process and all that it starts. */
export function setLimit({ name, soft, hard }: Limit): void {
  const pair = BigUint64Array.of(limitOf(soft), limitOf(hard));
  check(libc.setrlimit(RLIMITS[name], pair), `setrlimit ${name} to ${soft}, at most ${hard}`);
}

function limitOf(value: Limit["soft"]): bigint {
  return value === "unlimited" ? RLIM_INFINITY : BigInt(value);
}

/** What `work` starts has these limits for good; this process gets its own back. */
export function withLimits<T>(limits: readonly Limit[], work: () => T): T {
  const before = limits.map(({ name }) => {
    const pair = new BigUint64Array(2);
    check(libc.getrlimit(RLIMITS[name], pair), `getrlimit ${name}`);
    return { name, pair };
  });
  try {
    for (const limit of limits) setLimit(limit);
    return work();
  } finally {
    for (const { name, pair } of before) restoreLimit(name, pair);
  }
}

/** Without CAP_SYS_RESOURCE (a container) a hard limit that was lowered stays so. */
function restoreLimit(name: Limit["name"], pair: BigUint64Array): void {
  if (libc.setrlimit(RLIMITS[name], pair) === 0) return;
  const lowered = new BigUint64Array(2);
  check(libc.getrlimit(RLIMITS[name], lowered), `getrlimit ${name}`);
  const [soft, hard] = [pair[0]!, lowered[1]!];
  const kept = BigUint64Array.of(soft < hard ? soft : hard, hard);
  check(libc.setrlimit(RLIMITS[name], kept), `setrlimit ${name} back`);
}

/** Processes started from now on cannot administer the network, root's included. */
export function dropNetAdmin(): void {
  check(
    libc.prctl(PR_CAPBSET_DROP, BigInt(CAP_NET_ADMIN), 0n, 0n, 0n),
    "prctl PR_CAPBSET_DROP CAP_NET_ADMIN",
  );
}

/**
 * A real pipe: what `Bun.spawn` makes by itself is a socket pair, and a program that opens /dev/stdout (nginx) fails
 * on a socket with ENXIO.
 */
export function openPipe(): { readEnd: number; writeEnd: number } {
  const fds = new Int32Array(2);
  check(libc.pipe2(fds, O_CLOEXEC), "pipe2");
  return { readEnd: fds[0]!, writeEnd: fds[1]! };
}
