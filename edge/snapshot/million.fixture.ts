/**
 * Measures snapshots of 1,000,000 machines over 100,000 apps, by hand: `bun edge/snapshot/million.fixture.ts`.
 * README.md has what came of it.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReplicaWriter } from "./snapshot.fixture.ts";

const [MACHINES, APPS, HOSTS] = [1_000_000, 100_000, 1_000];
const folder = mkdtempSync(join(tmpdir(), "godwit-million-"));
try {
  const file = join(folder, "replica.sqlite");
  const { database } = new ReplicaWriter(file);
  for (const table of ["apps", "hostnames"]) {
    database.exec(`CREATE TABLE ${table} (key TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
      seq INTEGER NOT NULL, deleted INTEGER NOT NULL, published_ms INTEGER NOT NULL, row TEXT) WITHOUT ROWID`);
  }
  database.exec("BEGIN");
  const insert = (table: string) =>
    database.prepare(
      `INSERT INTO ${table} (key, owner, epoch, seq, deleted, published_ms, row) VALUES (?, ?, 1, ?, 0, ?, ?)`,
    );
  const [apps, hostnames, machines] = [insert("apps"), insert("hostnames"), insert("machines")];
  const services = [{
    protocol: "tcp",
    internal_port: 8080,
    ports: [{ port: 443, handlers: ["tls", "http"] }],
  }];
  const random = (digits: number) =>
    Buffer.from(crypto.getRandomValues(new Uint8Array(digits / 2))).toString("hex");
  const ids = Array.from({ length: APPS }, () => random(20));
  for (const [n, id] of ids.entries()) {
    const org = { org_id: ids[n % 1_000]!, org_slug: `org-${n % 1_000}` };
    apps.run(id, "api", n, Date.now(), JSON.stringify({ id, name: `app-${n}`, ...org, services }));
    const hostname = `app-${n}.example.com`;
    hostnames.run(hostname, "api", n, Date.now(), JSON.stringify({ hostname, app_id: id }));
  }
  for (let n = 0; n < MACHINES; n++) {
    const [id, host_id] = [random(14), `host-${n % HOSTS}`];
    const row = {
      ...{
        id,
        app_id: ids[n % APPS],
        host_id,
        region: "ams",
        release_id: ids[(n + 1) % APPS],
        state: "started",
      },
      ...{
        cordoned: false,
        address4: `172.20.${n % 250}.${n % 199}`,
        address6: `fdaa:0:${n % 9_999}::${n % 99}`,
      },
      ...{ services, started_at_ms: Date.now() - n, healthy: true },
    };
    machines.run(`${host_id}/${id}`, `worker:${host_id}`, n, Date.now(), JSON.stringify(row));
  }
  database.exec("UPDATE streams SET position = '1-0'");
  database.exec("COMMIT");
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  const [next, token] = [join(folder, "next"), "t".repeat(32)];
  writeFileSync(`${next}.token`, token, { mode: 0o600 });
  const program = new URL("./trip.fixture.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, file, next, token], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const measured = JSON.parse((await new Response(child.stdout).text()).trim().split("\n").at(-1)!);
  console.log(JSON.stringify({ replica_bytes: statSync(`${file}.1`).size, ...measured }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
