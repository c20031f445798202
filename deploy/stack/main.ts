/** `bun deploy/stack/main.ts up|down|status|doctor`: one Godwit on one machine. */
import { existsSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { ensureSbinOnPath } from "../setup/sbin-path.ts";
import { diagnose, renderFindings } from "./doctor.ts";
import { takeDown } from "./down.ts";
import { type Home, homeFromEnvironment } from "./home.ts";
import { readHomeRecord, Vmm } from "./home-record.ts";
import { takeLock } from "./lock.ts";
import { planPorts, PORT_BASE_DEFAULT } from "./ports.ts";
import { renderStatus, stackStatus } from "./status.ts";
import { renderFailure, Steps } from "./steps.ts";
import { askSupervisor, supervisorLog } from "./supervisor-client.ts";
import { up, type UpAnswer } from "./up.ts";

interface UpFlags {
  detach?: true;
  json?: true;
  vmm?: Vmm;
  install: boolean;
  portBase?: number;
}

const WATCH_INTERVAL_MS = 1_000;

await ensureSbinOnPath();
const home = homeFromEnvironment();
const program = new Command("godwit").description("One Godwit on one machine.").showHelpAfterError();

program.command("up").description("start everything, deploy the example app, print its URL")
  .option("--detach", "return when the app answers")
  .option("--json", "last line of stdout is one JSON object")
  .addOption(new Option("--vmm <name>", "what runs the machines").choices(Vmm.options))
  .option("--no-install", "list missing Debian packages instead of installing them")
  .option("--port-base <port>", `first of the stack's ports (default ${PORT_BASE_DEFAULT})`, number)
  .option("-y, --yes", "accepted for scripts; `up` asks nothing")
  .action((flags: UpFlags) => failing(flags.json === true, () => runUp(flags)));

program.command("down").description("stop everything and leave nothing behind")
  .option("--purge", "also remove GODWIT_HOME")
  .option("--json", "last line of stdout is one JSON object")
  .option("-y, --yes", "do not ask")
  .action((flags: { purge?: true; json?: true; yes?: true }) =>
    failing(flags.json === true, () => runDown(flags))
  );

program.command("status").description("what runs now").option("--json", "as one JSON object")
  .action((flags: { json?: true }) =>
    failing(flags.json === true, async () => {
      const status = await stackStatus(home);
      console.log(flags.json ? JSON.stringify(status) : renderStatus(status));
      process.exitCode = status.state === "running" ? 0 : 3;
    })
  );

program.command("doctor").description("is this machine fit for it?").option("--json", "as one JSON object")
  .option("--port-base <port>", "the ports to look at", number)
  .action((flags: { json?: true; portBase?: number }) =>
    failing(flags.json === true, async () => {
      const base = flags.portBase ?? readHomeRecord(home)?.port_base ?? PORT_BASE_DEFAULT;
      const findings = await diagnose(home, planPorts(base), await askSupervisor(home) !== null);
      console.log(flags.json ? JSON.stringify({ findings }) : renderFindings(findings));
      process.exitCode = findings.some((found) => found.level === "fail") ? 1 : 0;
    })
  );

try {
  for (const command of [program, ...program.commands]) command.exitOverride();
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has said it already; help is no failure. 2 as in control/cli/exit-code.ts.
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}

function number(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError("it must be a whole number.");
  return Number(text);
}

async function runUp(flags: UpFlags): Promise<void> {
  const steps = new Steps(flags.json ? process.stderr : process.stdout);
  const answer = await up(home, {
    vmm: flags.vmm ?? null,
    portBase: flags.portBase ?? null,
    mayInstall: flags.install,
  }, steps);
  if (answer.already_running) steps.line("It is already running; nothing was changed.");
  if (flags.json) console.log(JSON.stringify(answer));
  else console.log(renderUp(answer));
  if (flags.detach || answer.already_running) return;
  await stay(home, steps);
}

function renderUp(answer: UpAnswer): string {
  const machines = answer.vmm === null
    ? "unknown; see status"
    : answer.vmm.name === "runc"
    ? "CONTAINERS, NOT VMs (runc): they share this host's kernel; run no code that you do not trust"
    : `VMs under ${answer.vmm.name} (${answer.vmm.acceleration})`;
  return [
    "",
    `  example app  ${answer.app_url}`,
    `  API          ${answer.api_url}/graphql`,
    `  token        ${answer.token}`,
    `  machines     ${machines}`,
    `  state        ${answer.home}`,
    `  logs         ${answer.logs}`,
    "",
    "  stop with: bun run down",
  ].join("\n");
}

/** Without --detach the stack lives as long as this command, as with other tools of the kind. */
async function stay(home: Home, steps: Steps): Promise<void> {
  steps.line("  ctrl-c stops everything");
  const stop = Promise.withResolvers<boolean>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => stop.resolve(true));
  }
  const watch = setInterval(async () => {
    if (await askSupervisor(home) === null && !existsSync(home.supervisorSocket)) stop.resolve(false);
  }, WATCH_INTERVAL_MS);
  const mine = await stop.promise;
  clearInterval(watch);
  if (!mine) return steps.line("The stack was stopped.");
  const lock = await takeLock(home.runFolder, { interrupt: false, command: "down" });
  await takeDown(home, steps);
  lock.release();
}

async function runDown(flags: { purge?: true; json?: true; yes?: true }): Promise<void> {
  const steps = new Steps(flags.json ? process.stderr : process.stdout);
  if (flags.purge && !flags.yes && !flags.json) await confirmPurge();
  const lock = await takeLock(home.runFolder, { interrupt: true, command: "down" });
  const answer = await takeDown(home, steps, { purge: flags.purge === true });
  lock.release();
  for (const swept of answer.swept) steps.line(`  removed ${swept}`);
  const kept = flags.purge
    ? "the home is removed too"
    : existsSync(home.folder)
    ? `its state stays in ${home.folder}`
    : `there is no home at ${home.folder} either`;
  if (flags.json) console.log(JSON.stringify({ ...answer, home: home.folder, purged: flags.purge === true }));
  else console.log(`Nothing of this stack is left on this machine; ${kept}.`);
}

async function confirmPurge(): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new GodwitError("stack.not_confirmed", `Not removing ${home.folder} without a yes`, {
      fault: "client",
      hint: "add --yes",
    });
  }
  const { confirm } = await import("@clack/prompts");
  if (await confirm({ message: `Remove ${home.folder} with all apps, images and data?` }) === true) return;
  throw new GodwitError("stack.not_confirmed", "Nothing was removed", { fault: "client" });
}

/** Turns a failure into words, or into `{"error": …}` as the last line of stdout, and a non-zero exit code. */
async function failing(json: boolean, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const known = error instanceof GodwitError ? error : null;
    process.stderr.write(`\n${renderFailure(error)}\n`);
    if (existsSync(supervisorLog(home))) process.stderr.write(`  logs: ${home.logs}\n`);
    if (json) {
      const wire = known?.toWire() ??
        { code: "stack.bug", fault: "us", retryable: false, message: messageOf(error), hint: null };
      console.log(JSON.stringify({ error: wire }));
    }
    process.exitCode = known?.code === "stack.interrupted" ? 130 : known?.fault === "client" ? 2 : 1;
    process.exit(process.exitCode);
  }
}
