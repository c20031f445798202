/**
 * posix_spawn(3). `Bun.spawn` cannot give a child the terminal that vm-init holds the other end of (its own `terminal`
 * reads on whether anybody takes what was read or not), and costs PID 1 more time and memory.
 *
 * The child stands in a session of its own, with no open file but the three, no signal ignored or blocked. The terminal
 * that it opens first becomes its controlling one (setsid(2), tty(4)). Who calls reaps it: see child/reap.ts.
 */
import { ptr } from "bun:ffi";
import { SystemError } from "./error.ts";
import { libc, text } from "./libc.ts";

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const O_RDWR = 2;
/** Both more than glibc's structs have on 64-bit Linux (80 and 336 bytes). */
const FILE_ACTIONS_BYTES = 128;
const ATTRIBUTES_BYTES = 512;
const SIGSET_BYTES = 128;

export interface Spawn {
  /** Absolute. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  /** Path of a terminal, or the three descriptors; those stay open here. */
  readonly stdio: string | readonly [stdin: number, stdout: number, stderr: number];
}

/** The child's pid. @throws SystemError naming the file */
export function spawnSession({ file, argv, env, workingFolder, stdio }: Spawn): number {
  const actions = new Uint8Array(FILE_ACTIONS_BYTES);
  const attributes = new Uint8Array(ATTRIBUTES_BYTES);
  // The structs keep no copy of some of these: they must live until the spawn.
  const folder = text(workingFolder);
  const terminal = typeof stdio === "string" ? text(stdio) : null;
  const words = vectorOf(argv);
  const variables = vectorOf(Object.entries(env).map(([name, value]) => `${name}=${value}`));
  const pid = new Int32Array(1);
  const must = (result: number) => {
    if (result !== 0) throw new SystemError(`spawn of ${file}`, result);
  };
  must(libc.posix_spawn_file_actions_init(actions));
  must(libc.posix_spawnattr_init(attributes));
  try {
    const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID;
    must(libc.posix_spawnattr_setflags(attributes, flags));
    must(libc.posix_spawnattr_setsigdefault(attributes, new Uint8Array(SIGSET_BYTES).fill(0xff)));
    must(libc.posix_spawnattr_setsigmask(attributes, new Uint8Array(SIGSET_BYTES)));
    if (typeof stdio === "string") {
      must(libc.posix_spawn_file_actions_addopen(actions, 0, terminal, O_RDWR, 0));
      for (const fd of [1, 2]) must(libc.posix_spawn_file_actions_adddup2(actions, 0, fd));
    } else {
      stdio.forEach((from, fd) => must(libc.posix_spawn_file_actions_adddup2(actions, from, fd)));
    }
    must(libc.posix_spawn_file_actions_addchdir_np(actions, folder));
    must(libc.posix_spawn_file_actions_addclosefrom_np(actions, 3));
    must(libc.posix_spawn(pid, text(file), actions, attributes, words.pointers, variables.pointers));
    return pid[0]!;
  } finally {
    libc.posix_spawn_file_actions_destroy(actions);
    libc.posix_spawnattr_destroy(attributes);
  }
}

/** A NULL-terminated `char *[]`; the strings are held so that nothing collects them. */
function vectorOf(words: readonly string[]): { pointers: BigUint64Array; strings: Uint8Array[] } {
  const strings = words.map(text);
  const pointers = new BigUint64Array(words.length + 1);
  strings.forEach((string, at) => pointers[at] = BigInt(ptr(string)));
  return { pointers, strings };
}
