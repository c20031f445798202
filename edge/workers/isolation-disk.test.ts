/**
 * The disk under the replica: full, read-only, its file locked, damaged or gone. No request fails, and rows are routed
 * again once the fault is over. Mounts are private to the test: folders of its own, unmounted at its end. Each test has an
 * edge of its own and waits most of its time.
 */
import { afterAll, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { idOf } from "../edge.fixture.ts";
import { eventually, type IsolatedEdge, withIsolatedEdge } from "./isolation.fixture.ts";

const MS_MAX = 250_000;
const folder = mkdtempSync(join(tmpdir(), "godwit-isolation-disk-"));
const mounted: string[] = [];
afterAll(() => {
  for (const at of mounted.splice(0).reverse()) run(["umount", "--lazy", at]);
  rmSync(folder, { recursive: true, force: true });
});

function run(argv: string[]): boolean {
  try {
    return Bun.spawnSync(argv, { stdio: ["ignore", "ignore", "ignore"] }).success;
  } catch {
    return false;
  }
}
function mount(name: string, argv: (at: string) => string[]): string | null {
  const at = join(folder, name);
  mkdirSync(at, { recursive: true });
  if (!run(argv(at))) return null;
  mounted.push(at);
  return at;
}
/** An ext4 in a file, since it goes read-only under open files as a failing disk does, which tmpfs cannot. */
function mountExt4(name: string, at: string): string | null {
  const image = join(folder, `${name}.img`);
  writeFileSync(image, "");
  if (!run(["truncate", "--size=48M", image]) || !run(["mkfs.ext4", "-q", image])) return null;
  return mount(at, (at) => ["mount", "-o", "loop", image, at]);
}

const full = mount("full", (at) => ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", at]);
const readOnly = mountExt4("first", "read-only");
const skipped = (what: string) => void test.skip(`skipped, a mount cannot be made here: ${what}`, () => {});

/** As many rows as no page or log that is there already has room for. */
async function publishMany(edge: IsolatedEdge, name: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const hostname = `${name}-${i}.${`${"x".repeat(50)}.`.repeat(3)}test`;
    await edge.publish("hostnames", hostname, { hostname, app_id: idOf("app") });
  }
}
/** The replicator can store nothing: it says so, or ends of it. */
const inTrouble = (edge: IsolatedEdge) =>
  eventually(async () => {
    const { connected, replicator } = await edge.replica();
    return !connected || Object.values(replicator.restarts).some((times) => times > 0);
  });

// First, because it takes longest: the replicator crashes until one of its starts finds the damage.
test.concurrent(
  "a file that is damaged under the replicator holds up no request, and is replaced",
  async () => {
    await withIsolatedEdge({}, async (edge) => {
      await publishMany(edge, "before");
      await edge.routesNews();
      // The head stays, so that only who reads further finds out.
      const path = resolve(dirname(edge.replicaFile), readlinkSync(edge.replicaFile));
      for (const each of [path, `${path}-wal`]) {
        const descriptor = openSync(each, "r+");
        const { size } = statSync(each);
        const from = each === path ? 4_096 : 0;
        if (size > from) writeSync(descriptor, Buffer.alloc(size - from, 0xa5), 0, size - from, from);
        closeSync(descriptor);
      }
      await publishMany(edge, "after");
      await edge.routesNews();
    });
  },
  MS_MAX,
);

if (full === null) skipped("a tmpfs that is full");
else {
  test.concurrent(
    "a full disk holds up no request, and what could not be stored is routed when there is room",
    async () => {
      await withIsolatedEdge({ replicaFolder: full }, async (edge) => {
        await edge.routesNews();
        const filler = join(full, "filler");
        const descriptor = openSync(filler, "w");
        try {
          for (;;) writeSync(descriptor, Buffer.alloc(65_536));
        } catch (error) {
          expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
        } finally {
          closeSync(descriptor);
        }
        await publishMany(edge, "full");
        await inTrouble(edge);
        // With the disk still full, a replicator that is started anew must not make it worse.
        const { pid } = (await edge.replica()).replicator;
        if (pid !== null) process.kill(pid, "SIGKILL");
        await Bun.sleep(5_000);
        unlinkSync(filler);
        await edge.routesNews();
      });
    },
    MS_MAX,
  );
}

if (readOnly === null) skipped("an ext4 that goes read-only");
else {
  test.concurrent(
    "a disk that goes read-only holds up no request, and another in its place is filled anew",
    async () => {
      await withIsolatedEdge({ replicaFolder: readOnly }, async (edge) => {
        await edge.routesNews();
        expect(run(["mount", "-o", "remount,abort", readOnly])).toBe(true);
        await publishMany(edge, "read-only");
        await inTrouble(edge);
        expect(run(["umount", "--lazy", readOnly])).toBe(true);
        mounted.splice(mounted.indexOf(readOnly), 1);
        expect(mountExt4("second", "read-only")).not.toBe(null);
        await edge.routesNews();
        expect(existsSync(edge.replicaFile)).toBe(true);
      });
    },
    MS_MAX,
  );
}

const LOCKER = `
  const { Database } = require("bun:sqlite");
  const database = new Database(process.argv[1]);
  database.run("PRAGMA busy_timeout = 5000");
  database.run("BEGIN EXCLUSIVE");
  console.log("locked");
  await new Response(Bun.stdin.stream()).text();
  database.run("ROLLBACK");
`;

test.concurrent(
  "a file that another program has locked holds up no request, and is not taken for a damaged one",
  async () => {
    await withIsolatedEdge({}, async (edge) => {
      await edge.routesNews();
      const generation = readlinkSync(edge.replicaFile);
      const locker = Bun.spawn([process.execPath, "-e", LOCKER, edge.replicaFile], {
        ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit" },
      });
      const { value } = await locker.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toContain("locked");
      await publishMany(edge, "locked");
      await inTrouble(edge);
      // One that is started while it is locked finds it so at its first look.
      const { pid } = (await edge.replica()).replicator;
      if (pid !== null) process.kill(pid, "SIGKILL");
      await Bun.sleep(5_000);
      locker.stdin.end();
      expect(await locker.exited).toBe(0);
      await edge.routesNews();
      expect(existsSync(`${edge.replicaFile}.aside`)).toBe(false);
      expect(readlinkSync(edge.replicaFile)).toBe(generation);
    });
  },
  MS_MAX,
);

test.concurrent(
  "a file that is deleted under the replicator holds up no request, and is made anew",
  async () => {
    await withIsolatedEdge({}, async (edge) => {
      await edge.routesNews();
      const before = await edge.replicator();
      for (const name of readdirSync(edge.folder)) {
        if (name.startsWith("replica.sqlite")) unlinkSync(join(edge.folder, name));
      }
      await edge.replicator(before);
      await edge.routesNews();
      expect(existsSync(edge.replicaFile)).toBe(true);
    });
  },
  MS_MAX,
);
