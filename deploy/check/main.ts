/**
 * `bun run check`: everything that must hold. Format, lint and types first, because they are fast; then each test file in
 * a process and with a time limit of its own, so that one that hangs or crashes fails alone and by name. The last line
 * is `N passed, N failed`; the exit code is 0 only without failures. `--long` adds what takes longer than a change can
 * wait for: chaos (`*.long.ts`) and the benchmarks. `--driver NAME` runs nothing but the contract suite of that driver.
 */
import { resolve } from "node:path";
import { Glob } from "bun";
import { installMissing } from "../setup/install.ts";
import { ensureSbinOnPath } from "../setup/sbin-path.ts";
import { formatDuration, renderFailure } from "../stack/steps.ts";
import { driverCheck } from "./driver-check.ts";
import { slowest } from "./slowest.ts";
import { add, FAIL, NOTHING, PASS, summary, type Tally, tallyOf } from "./tally.ts";

const root = resolve(import.meta.dir, "../..");
const TOOL_MS_MAX = 5 * 60_000;
const TEST_FILE_MS_MAX = 5 * 60_000;
/** End-to-end tests boot machines under TCG. */
const E2E_FILE_MS_MAX = 12 * 60_000;
const LONG_MS_MAX = 60 * 60_000;
const LONG = /\.long\.ts$/;
const BENCHES = ["machine-start", "route", "relay", "replica"];
/** Where a single test names no limit of its own. */
const TEST_MS_MAX = 30_000;
/** Of those in one file that say `test.concurrent`, because they wait more than they work. */
const CONCURRENT_TESTS_MAX = 3;
const PIPES_CLOSE_MS_MAX = 5_000;

const FOLDERS = ["edge", "control", "vm-init", "deploy"];

await ensureSbinOnPath();
// Bun's own reporter for tools would hide the lines of tests that passed.
for (const name of ["CLAUDECODE", "AGENT", "REPL_ID"]) delete process.env[name];
const started = performance.now();

async function main(args: string[]): Promise<number> {
  const long = args.includes("--long");
  const driverAt = args.indexOf("--driver");
  const driver = driverAt === -1 ? null : args[driverAt + 1] ?? "";
  const patterns = args.filter((arg, at) =>
    arg !== "--long" && (driverAt === -1 || at < driverAt || at > driverAt + 1)
  );
  try {
    await installMissing({ forCheck: true, mayInstall: true, say: (line) => console.log(line) });
  } catch (error) {
    // The tests that need them say so themselves; without any of them nothing can be said at all.
    console.log(renderFailure(error));
    console.log(summary(FAIL));
    return 1;
  }
  const failures: string[] = [];
  let total = NOTHING;
  const count = (name: string, tally: Tally) => {
    total = add(total, tally);
    if (tally.failed > 0) failures.push(name);
  };
  const tookMs = new Map<string, number>();
  const timed = async (name: string, run: () => Promise<Tally>) => {
    const before = performance.now();
    count(name, await run());
    tookMs.set(name, performance.now() - before);
  };
  if (patterns.length === 0 && driver === null) {
    for (const [name, argv] of tools()) await timed(name, () => runTool(name, argv));
  }
  const files = driver === null ? testFiles(patterns, long) : await suiteOf(driver);
  // Zero of zero tests would count as green.
  if (files.length === 0) {
    if (driver === null) console.log(`there is no test file with ${patterns.join(" or ")} in its path`);
    count(driver === null ? patterns.join(" ") : `--driver ${driver}`, FAIL);
  }
  for (const file of files) await timed(file, () => runTestFile(file));
  if (long && patterns.length === 0 && driver === null) {
    for (const name of BENCHES) await timed(`bench ${name}`, () => runBench(name));
  }
  if (tookMs.size > 1) console.log(`\nthe slowest:\n${slowest(tookMs).join("\n")}`);
  console.log(`\ncheck took ${formatDuration(performance.now() - started)}`);
  if (failures.length > 0) console.log(`failed:\n${failures.map((name) => `  ${name}`).join("\n")}`);
  console.log(summary(total));
  return total.failed === 0 ? 0 : 1;
}

function tools(): [string, string[]][] {
  const deno = resolve(root, "node_modules/.bin/deno");
  const sources = Array.from(new Glob(`{${FOLDERS.join(",")}}/**/*.{ts,tsx}`).scanSync({ cwd: root })).sort();
  return [
    ["format", [deno, "fmt", "--check", "--quiet"]],
    ["lint", [deno, "lint", "--quiet"]],
    ["types", [deno, "check", "--quiet", ...sources]],
  ];
}

async function suiteOf(driver: string): Promise<string[]> {
  const { file, note } = await driverCheck(driver);
  console.log(note);
  return file === null ? [] : [file];
}

/** Files whose path holds one of the patterns; end-to-end tests last. */
function testFiles(patterns: string[], long: boolean): string[] {
  const files = Array.from(
    new Glob(`{${FOLDERS.join(",")}}/**/*.{test,long}.{ts,tsx}`).scanSync({ cwd: root }),
  );
  const wanted = files.filter((file) => long || !LONG.test(file))
    .filter((file) => patterns.length === 0 || patterns.some((p) => file.includes(p)));
  return wanted.sort((a, b) => Number(isE2e(a)) - Number(isE2e(b)) || a.localeCompare(b));
}

function isE2e(file: string): boolean {
  return file.startsWith("deploy/e2e/");
}

async function runTool(name: string, argv: string[]): Promise<Tally> {
  console.log(`── ${name}`);
  const { status } = await run(argv, TOOL_MS_MAX);
  return status === 0 ? PASS : FAIL;
}

/** A benchmark fails where it cannot measure; what it measured is for people to judge. */
async function runBench(name: string): Promise<Tally> {
  console.log(`── bench ${name}`);
  const { status } = await run([process.execPath, "deploy/bench/main.ts", name], LONG_MS_MAX);
  return status === 0 ? PASS : FAIL;
}

async function runTestFile(file: string): Promise<Tally> {
  console.log(`── ${file}`);
  const limit = LONG.test(file) ? LONG_MS_MAX : isE2e(file) ? E2E_FILE_MS_MAX : TEST_FILE_MS_MAX;
  const argv = [
    ...[process.execPath, "test", `./${file}`, "--timeout", String(TEST_MS_MAX)],
    ...["--max-concurrency", String(CONCURRENT_TESTS_MAX)],
  ];
  const { status, output } = await run(argv, limit);
  return tallyOf(output, status);
}

/** Streams what the command prints, and keeps it. `status` is null where the time limit ended it. */
async function run(argv: string[], msMax: number): Promise<{ status: number | null; output: string }> {
  const before = performance.now();
  const child = Bun.spawn(argv, {
    cwd: root,
    env: { ...process.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: msMax,
    killSignal: "SIGKILL",
  });
  let output = "";
  const pass = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      output += text;
      process.stdout.write(text);
    }
  };
  const read = Promise.all([pass(child.stdout), pass(child.stderr)]);
  await child.exited;
  // A process that a test left behind may hold the pipes open for good.
  await Promise.race([read, Bun.sleep(PIPES_CLOSE_MS_MAX)]);
  const tookTooLong = child.signalCode === "SIGKILL" && performance.now() - before >= msMax;
  if (tookTooLong) console.log(`ended: it took longer than ${formatDuration(msMax)}`);
  return { status: child.exitCode, output };
}

process.exit(await main(process.argv.slice(2)));
