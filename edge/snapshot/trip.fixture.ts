/** A program for either runtime: builds a snapshot of a replica in a process of its own, serves it, fetches it, reads it. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { pino } from "pino";
import { loadRuntime } from "../runtime/runtime.ts";
import { forkSnapshotBuilder } from "../workers/child-process.ts";
import { pause } from "../replica/pause.ts";
import { SnapshotFolder, snapshotFolderOf } from "./folder.ts";
import { SnapshotKeeper } from "./keeper.ts";
import { SnapshotServer } from "./server.ts";
import { HttpSnapshotSources } from "./sources.ts";

const [file, path, token] = process.argv.slice(2) as [string, string, string];
const { openDatabase, name } = await loadRuntime();
const log = pino({ level: "info" }, pino.destination({ dest: 2, sync: true }));
const folder = new SnapshotFolder(snapshotFolderOf(file));
/** The most memory that the builder has had (proc(5)), as far as looks at it found. */
let builderKb = 0;
function forkWatched() {
  const child = forkSnapshotBuilder();
  const timer = setInterval(() => {
    try {
      const [, kb] = /VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
      builderKb = Math.max(builderKb, Number(kb ?? 0));
    } catch {
      // It has ended.
    }
  }, 20);
  void child.exited.then(() => clearInterval(timer));
  return child;
}
const keeper = new SnapshotKeeper({
  ...{ replicaFile: file, folder, intervalMs: 3_600_000, fork: forkWatched, log, random: Math.random },
  ...{ nowMs: () => performance.now(), wallMs: () => Date.now() },
});
const startedMs = performance.now();
await keeper.build();
const builtMs = performance.now();
const server = new SnapshotServer({ folder, listen: { address: "0.0.0.0", port: 0 }, token, log });
const port = await server.listen();
const sources = new HttpSnapshotSources({
  ...{ from: [`http://127.0.0.1:${port}`], tokenFile: `${path}.token`, folder: `${path}.parts` },
  ...{ replicaSchema: 1, log, pause, random: Math.random },
});
const offers = await sources.list();
const listedMs = performance.now();
if (offers[0] !== undefined) await sources.fetch(offers[0], path);
const fetchedMs = performance.now();
const database = openDatabase(path);
const position = database.prepare("SELECT position FROM streams").all()[0]?.position;
const rows = database.prepare("SELECT count(*) AS rows FROM machines WHERE deleted = 0").all()[0]?.rows;
database.close();
await Promise.all([server.stop(), keeper.stop()]);
console.log(JSON.stringify({
  runtime: name,
  position,
  rows,
  manifest: offers[0]?.manifest,
  build_ms: Math.round(builtMs - startedMs),
  fetch_ms: Math.round(fetchedMs - listedMs),
  open_ms: Math.round(performance.now() - fetchedMs),
  builder_rss_max_kb: builderKb,
  rss_max_kb: process.resourceUsage().maxRSS,
}));
process.exit(0);
