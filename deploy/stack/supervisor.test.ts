import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "../servers/child.ts";
import { endServers } from "./down.ts";
import { homeAt } from "./home.ts";
import { endProcess, isAlive, liveRecords } from "./identity.ts";
import type { Part } from "./parts.ts";
import { boundLogs, RESTART_WAIT_MS_MAX, restartWaitMs, Supervisor } from "./supervisor.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-supervisor-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function part(name: string, argv: string[], ready = () => Promise.resolve(true)): Part {
  const logFile = join(folder, `${name}.log`);
  return { name, logFile, start: (onSpawn) => startServer({ name, argv, logFile, ready, onSpawn }) };
}

/** Awaits what the supervisor says, line by line. */
function listener() {
  const lines: string[] = [];
  let wake = () => {};
  return {
    say: (line: string) => {
      lines.push(line);
      wake();
    },
    until: async (pattern: RegExp, count: number) => {
      while (lines.filter((line) => pattern.test(line)).length < count) {
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
  };
}

describe("Supervisor", () => {
  test("starts a part anew that has outgrown its bound, and no other", async () => {
    const { say, until } = listener();
    let full = true;
    const grows = { ...part("grows", ["sleep", "1000"]), outgrown: () => full };
    const supervisor = new Supervisor(
      [part("stays", ["sleep", "1000"]), grows],
      join(folder, "run-bound"),
      say,
    );
    await supervisor.startAll();
    const [stays, before] = supervisor.status.parts.map((p) => p.pid);
    await supervisor.boundParts();
    full = false;
    await until(/^grows runs/, 2);
    await supervisor.boundParts();
    expect(supervisor.status.parts[0]!.pid).toBe(stays!);
    expect(supervisor.status.parts[1]!.pid).not.toBe(before!);
    await supervisor.stopAll();
  });

  test("starts parts in order, restarts one that was killed, and stops all", async () => {
    const runFolder = join(folder, "run");
    const { say, until } = listener();
    const supervisor = new Supervisor(
      [part("first", ["sleep", "1000"]), part("second", ["sleep", "1000"])],
      runFolder,
      say,
    );
    await supervisor.startAll();
    expect(supervisor.status.state).toBe("running");
    const records = liveRecords(runFolder);
    expect(records.map((record) => record.name).sort()).toEqual(["first", "second"]);
    const first = records.find((record) => record.name === "first")!;
    process.kill(first.pid, "SIGKILL");
    await until(/^first runs/, 2);
    const again = supervisor.status.parts[0]!;
    expect(again.state).toBe("running");
    expect(again.restarts).toBe(1);
    expect(again.pid).not.toBe(first.pid);
    const before = liveRecords(runFolder);
    await supervisor.stopAll();
    expect(before.some(isAlive)).toBe(false);
    expect(liveRecords(runFolder)).toEqual([]);
  }, 30_000);

  test("stops what it started when a part does not come up, and tells why", async () => {
    const runFolder = join(folder, "run-failed");
    const supervisor = new Supervisor(
      [
        part("good", ["sleep", "1000"]),
        part("bad", ["sh", "-c", "echo broken >&2; exit 3"], () => Promise.resolve(false)),
      ],
      runFolder,
      () => {},
    );
    await supervisor.startAll();
    expect(supervisor.status.state).toBe("failed");
    expect(supervisor.status.parts.map((p) => p.state)).toEqual(["stopped", "failed"]);
    expect(supervisor.status.parts[1]!.error?.message).toBe("bad did not come up; it said:\nbroken");
    expect(readFileSync(join(folder, "bad.log"), "utf8")).toBe("broken\n");
    expect(liveRecords(runFolder)).toEqual([]);
  }, 30_000);
});

test("endServers() ends what a supervisor left that was killed with -9", async () => {
  const home = { ...homeAt(join(folder, "home")), runFolder: join(folder, "run-killed") };
  const fixture = join(import.meta.dir, "supervisor.fixture.ts");
  const child = Bun.spawn([process.execPath, fixture, home.runFolder, folder], { stdout: "pipe" });
  await child.stdout.getReader().read();
  child.kill("SIGKILL");
  await child.exited;
  const orphans = liveRecords(home.runFolder);
  expect(orphans.map((record) => record.name).sort()).toEqual(["first", "second"]);
  expect(await endServers(home)).toContain("first");
  expect(orphans.some(isAlive)).toBe(false);
}, 30_000);

test("endProcess() leaves a process alone that took over the pid", async () => {
  const child = Bun.spawn(["sleep", "1000"]);
  await endProcess({ name: "x", pid: child.pid, start_ticks: "1", boot_id: "another boot" });
  expect(child.exitCode).toBeNull();
  child.kill("SIGKILL");
  await child.exited;
});

test("restartWaitMs() doubles up to its cap", () => {
  expect([0, 1, 2].map(restartWaitMs)).toEqual([200, 400, 800]);
  expect(restartWaitMs(1_000)).toBe(RESTART_WAIT_MS_MAX);
});

test("boundLogs() cuts a log that grew past its bound and keeps the one before", () => {
  const log = join(folder, "big.log");
  writeFileSync(log, "x".repeat(2_000));
  boundLogs(folder, 1_000);
  expect(statSync(log).size).toBe(0);
  expect(statSync(`${log}.1`).size).toBe(2_000);
  boundLogs(folder, 1_000);
  expect(existsSync(`${log}.1`)).toBe(true);
});
