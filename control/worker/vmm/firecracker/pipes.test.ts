import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../driver.fixture.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";
import { Pipes } from "./pipes.ts";

let folder: string;
let log: number;
let metrics: number;
let pipes: Pipes;
const at = (name: string) => join(folder, name);
const paths = () => ({ inJail: at, output: at("output") }) as unknown as FirecrackerPaths;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "godwit-pipes-"));
  await run(["mkfifo", at("log"), at("metrics")]);
  // As Firecracker opens them.
  [log, metrics] = [at("log"), at("metrics")].map((file) =>
    openSync(file, constants.O_RDWR | constants.O_NONBLOCK)
  ) as [number, number];
  pipes = new Pipes(paths());
});
afterAll(() => {
  for (const fd of [log, metrics]) closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

const line = (at: number) => JSON.stringify({ utc_timestamp_ms: at, vmm: { panic_count: 0 }, more: {} });

test("Pipes takes what is there: the log to its file, the last whole line of the metrics", () => {
  pipes.drain();
  expect(existsSync(at("output"))).toBe(false);
  writeSync(log, "one\ntwo\n");
  writeSync(metrics, `${line(1)}\n${line(2)}\n${line(3).slice(0, 10)}`);
  pipes.drain();
  expect(readFileSync(at("output"), "utf8")).toBe("one\ntwo\n");
  expect(pipes.metrics).toEqual({ utc_timestamp_ms: 2, vmm: { panic_count: 0 } });
  writeSync(metrics, `${line(3).slice(10)}\n`);
  pipes.drain();
  expect(pipes.metrics?.utc_timestamp_ms).toBe(3);
});

test("Pipes starts afresh after a line that makes no sense", () => {
  writeSync(metrics, `{"utc_times\n`);
  pipes.drain();
  writeSync(metrics, `${line(4)}\n`);
  pipes.drain();
  expect(pipes.metrics?.utc_timestamp_ms).toBe(4);
});

test("Pipes takes no more at a time than a pipe holds, and its writer never waits", () => {
  const chunk = Buffer.alloc(4_096, "x");
  let written = 0;
  const fill = () => {
    for (;;) written += writeSync(log, chunk);
  };
  expect(fill).toThrow("EAGAIN");
  rmSync(at("output"));
  pipes.drain();
  expect(readFileSync(at("output")).length).toBe(written);
});

test("Pipes of a machine whose folder is gone lose what is said, and of pipes that are gone say nothing", () => {
  const gone = new Pipes({ inJail: at, output: "/nowhere/output" } as unknown as FirecrackerPaths);
  writeSync(log, "lost\n");
  gone.drain();
  gone.close();
  gone.close();
  const none = new Pipes({ ...paths(), inJail: () => "/nowhere/pipe" } as unknown as FirecrackerPaths);
  none.drain();
  expect(none.metrics).toBeNull();
  none.close();
  pipes.close();
});
