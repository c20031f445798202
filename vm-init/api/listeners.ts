/** Which TCP sockets listen inside the machine, and whose they are: /proc/net/tcp, tcp6 and /proc/PID/fd. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { GuestListeners } from "../../control/contract/guest-api.ts";
import { codeOf } from "../system/error.ts";
import { withIdentity } from "../system/process.ts";

type Listener = GuestListeners["listeners"][number];

const STATE_LISTEN = "0A";
const LISTENERS_MAX = 256;
const PROCESSES_MAX = 4_096;
const COMMAND_CHARS_MAX = 256;

export interface ListeningSocket {
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** Lines of /proc/net/tcp or tcp6 (proc_net_tcp.rst of the kernel): addresses are 32-bit words in host order. */
export function parseListening(table: string): ListeningSocket[] {
  return table.split("\n").slice(1).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [address, port] = (fields[1] ?? "").split(":");
    const inode = fields[9];
    if (fields[3] !== STATE_LISTEN || !address || !port || inode === undefined) return [];
    return [{ address: addressOf(address), port: Number.parseInt(port, 16), inode }];
  });
}

function addressOf(hex: string): string {
  const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
  for (let word = 0; word < bytes.length; word += 4) bytes.subarray(word, word + 4).reverse();
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  // The URL parser writes the short form of RFC 5952.
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

export function listListeners(): GuestListeners {
  const sockets = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => parseListening(readOr(file, "")));
  const owners = sockets.length === 0
    ? new Map<string, number>()
    : ownersOf(new Set(sockets.map((s) => s.inode)));
  const listeners = sockets.slice(0, LISTENERS_MAX).map(({ address, port, inode }): Listener => {
    const pid = owners.get(inode) ?? null;
    return { address, port, pid, command: pid === null ? null : commandOf(pid) };
  });
  return { listeners };
}

function ownersOf(inodes: ReadonlySet<string>): Map<string, number> {
  const owners = new Map<string, number>();
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_MAX);
  for (const pid of pids) {
    for (const inode of socketsOf(pid)) {
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, Number(pid));
    }
    if (owners.size === inodes.size) break;
  }
  return owners;
}

/** Inodes of the sockets that a process has open. */
function socketsOf(pid: string): string[] {
  const folder = `/proc/${pid}/fd`;
  const look = () =>
    readdirSync(folder).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(linkOr(`${folder}/${fd}`))?.[1] ?? []);
  try {
    return look();
  } catch (error) {
    if (codeOf(error) !== "EACCES") return [];
  }
  try {
    // A container's root may not look into another user's processes (ptrace(2), access mode checking); that user may.
    const { uid, gid } = statSync(`/proc/${pid}`);
    return withIdentity({ uid, gid, groups: [gid] }, look);
  } catch {
    return [];
  }
}

function commandOf(pid: number): string | null {
  const words = readOr(`/proc/${pid}/cmdline`, "").split("\0").join(" ").trim();
  return words === "" ? null : words.slice(0, COMMAND_CHARS_MAX);
}

// A process may end between two looks: what it owned is then unknown, which is what the empty answers say.

function readOr(file: string, fallback: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return fallback;
  }
}

function linkOr(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (codeOf(error) === "EACCES") throw error;
    return "";
  }
}
