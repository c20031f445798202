/** A program for either runtime: builds a snapshot of a replica in a process of its own, serves it, fetches it, reads it. */
import process from "node:process";
import { pino } from "pino";
import { loadRuntime } from "../runtime/runtime.ts";
import { forkSnapshotBuilder } from "../workers/child-process.ts";
import { pause } from "./pause.ts";
import { SnapshotFolder, snapshotFolderOf } from "./snapshot-folder.ts";
import { SnapshotKeeper } from "./snapshot-keeper.ts";
import { SnapshotServer } from "./snapshot-server.ts";
import { HttpSnapshotSources } from "./snapshot-sources.ts";

const [file, path, token] = process.argv.slice(2) as [string, string, string];
const { openDatabase, name } = await loadRuntime();
const log = pino({ level: "info" }, pino.destination({ dest: 2, sync: true }));
const folder = new SnapshotFolder(snapshotFolderOf(file));
const keeper = new SnapshotKeeper({
  ...{ replicaFile: file, folder, intervalMs: 3_600_000, fork: forkSnapshotBuilder, log, random: Math.random },
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
  rss_max_kb: process.resourceUsage().maxRSS,
}));
process.exit(0);
