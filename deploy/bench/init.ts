/**
 * What vm-init costs a guest beside an init that is a shell script of busybox: memory that is left when the user's
 * process is spawned, the time until then, and its own anonymous memory. Both boot the same kernel with the same drives; a
 * start of Bun, which is what vm-init may take longer, is measured in the same guest.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Bench } from "./bench.ts";
import { quoted } from "./hand-run.ts";
import { bootUntil, MEMORY_MB, qemuArgv, type Which } from "./init/boot.ts";
import { type Guests, prepareGuests } from "./init/guests.ts";
import { wholeNumber } from "./options.ts";
import { alternate, median } from "./rounds.ts";

const ROUNDS_DEFAULT = 5;
const KB_PER_MB = 1_024;
/** What vm-init is allowed, DESIGN section 8. */
const RSS_ANON_MB_MAX = 16;
const MEMORY_MB_MORE_MAX = 45;

const SPAWN = ["spawned_s", "available_kb", "init_rss_anon_kb", "app_limit_bytes"];
const BUN_START = ["bun_exec_s", "bun_started_s"];

export const bench: Bench = {
  summary:
    "memory and time until the user's process is spawned, over a busybox script as PID 1 in the same guest",
  async run(options, say) {
    const { values } = parseArgs({ args: options, options: { rounds: { type: "string" } } });
    const rounds = wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT);
    const folder = mkdtempSync(join(tmpdir(), "godwit-bench-init-"));
    try {
      return await measure(await prepareGuests(folder, say), folder, rounds, say);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

type Figures = ReadonlyMap<string, number>;

async function measure(guests: Guests, folder: string, rounds: number, say: (line: string) => void) {
  for (const which of ["vm-init", "busybox"] as const) {
    say(`\n${which}:\n  ${qemuArgv(guests, which, folder).map(quoted).join(" ")}`);
  }
  say("");
  const seen: Record<Which, Figures[]> = { "vm-init": [], busybox: [] };
  const boot = async (which: Which) => {
    const wanted = which === "busybox" ? [...SPAWN, ...BUN_START] : SPAWN;
    const figures = await bootUntil(guests, which, folder, wanted);
    seen[which].push(figures);
    return figures.get("spawned_s")!;
  };
  // Once each before it counts: the host has the files in its page cache then.
  await boot("vm-init");
  await boot("busybox");
  seen["vm-init"].length = seen.busybox.length = 0;
  await alternate(rounds, [
    { name: "vm-init", run: () => boot("vm-init") },
    { name: "busybox", run: () => boot("busybox") },
  ], (round, name) => say(`round ${round + 1}  ${name.padEnd(8)}  ${wordsOf(seen[name as Which].at(-1)!)}`));
  return report(seen, say);
}

function wordsOf(figures: Figures): string {
  return [...figures].map(([name, value]) => `${name} ${value}`).join("  ");
}

function report(seen: Record<Which, Figures[]>, say: (line: string) => void) {
  const of = (which: Which, name: string) => seen[which].map((figures) => figures.get(name)!);
  const spawnedS = { ours: median(of("vm-init", "spawned_s")), peer: median(of("busybox", "spawned_s")) };
  const availableMb = {
    ours: median(of("vm-init", "available_kb")) / KB_PER_MB,
    peer: median(of("busybox", "available_kb")) / KB_PER_MB,
  };
  const bunStartS = median(
    seen.busybox.map((figures) => figures.get("bun_started_s")! - figures.get("bun_exec_s")!),
  );
  const rssAnonMb = median(of("vm-init", "init_rss_anon_kb")) / KB_PER_MB;
  const moreMb = availableMb.peer - availableMb.ours;
  const moreS = spawnedS.ours - spawnedS.peer;
  const verdict = (holds: boolean) => holds ? "holds" : "FALLS SHORT";
  say(
    `\nanonymous memory of vm-init: ${rssAnonMb.toFixed(1)} MB, at most ${RSS_ANON_MB_MAX}: ` +
      verdict(rssAnonMb <= RSS_ANON_MB_MAX),
  );
  say(
    `available at the spawn: ${availableMb.ours.toFixed(1)} MB, peer ${availableMb.peer.toFixed(1)}: ` +
      `${moreMb.toFixed(1)} less, at most ${MEMORY_MB_MORE_MAX}: ${verdict(moreMb <= MEMORY_MB_MORE_MAX)}`,
  );
  say(
    `spawned at ${spawnedS.ours.toFixed(2)} s, peer ${spawnedS.peer.toFixed(2)}: ${
      moreS.toFixed(2)
    } s more, ` +
      `at most one start of Bun, ${bunStartS.toFixed(2)} s: ${verdict(moreS <= bunStartS)}`,
  );
  return {
    /** Of what is promised to be at most one start of Bun. */
    ratio: round(moreS / bunStartS),
    more_s: round(moreS),
    bun_start_s: round(bunStartS),
    available_less_mb: round(moreMb),
    init_rss_anon_mb: round(rssAnonMb),
    /** What vm-init lets the app have of it (memory.max of its cgroup). */
    app_limit_mb: round(median(of("vm-init", "app_limit_bytes")) / KB_PER_MB / KB_PER_MB),
    spawned_s: { "vm-init": of("vm-init", "spawned_s"), busybox: of("busybox", "spawned_s") },
    available_kb: { "vm-init": of("vm-init", "available_kb"), busybox: of("busybox", "available_kb") },
    guest_memory_mb: MEMORY_MB,
  };
}

function round(figure: number): number {
  return Math.round(figure * 1_000) / 1_000;
}
