/** The commands of `godwit`. What a command does is loaded when it runs, so that `--help` and `version` start fast. */
import { Command, InvalidArgumentError, Option } from "commander";
import type { GlobalFlags } from "./context.ts";
import type { DeployFlags } from "./commands/deploy.ts";
import type { ExecFlags } from "./commands/exec.ts";
import type { LogsFlags } from "./commands/logs.ts";
import type { ExplainFlags } from "./commands/route.ts";
import type { GetFlags, ListFlags, PutFlags } from "./commands/sftp.ts";
import type { ConsoleFlags } from "./commands/ssh.ts";
import type { Session } from "./session.ts";
import { VERSION } from "./version.ts";

export const LOG_TAIL_DEFAULT = 100;

export function godwitProgram(): Command {
  const program = new Command("godwit").description(
    "Runs container images as virtual machines near their users.",
  )
    .option("--json", "one JSON document on stdout and nothing else")
    .option("-a, --app <name>", "the app (GODWIT_APP)")
    .option("-o, --org <slug>", "the organisation")
    .option("-y, --yes", "yes to every question")
    .option("-t, --access-token <token>", "instead of GODWIT_TOKEN")
    .version(VERSION, "-V, --version")
    .showHelpAfterError("(godwit --help shows the commands)")
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 the app failed, 6 unreachable",
    );
  addStack(program);
  addApps(program);
  addDeploy(program);
  addMachine(program);
  addSsh(program);
  addLogs(program);
  addRoute(program);
  addReplica(program);
  program.command("version").description("the version of this command").action((_, command: Command) => {
    const { json } = command.optsWithGlobals<GlobalFlags>();
    console.log(json ? JSON.stringify({ version: VERSION }) : `godwit ${VERSION}`);
  });
  return program;
}

async function sessionOf(command: Command): Promise<Session> {
  const { Session } = await import("./session.ts");
  return new Session(command.optsWithGlobals<GlobalFlags>());
}

function addStack(program: Command): void {
  const pass = (name: string, description: string) =>
    program.command(name).description(`${description} (see ${name} --help)`)
      .allowUnknownOption().allowExcessArguments().helpOption(false)
      .argument("[options...]")
      .action(async () => {
        const { runStack } = await import("./commands/stack.ts");
        process.exitCode = await runStack(stackArguments(process.argv.slice(2), name));
      });
  pass("up", "start a whole Godwit on this machine");
  pass("down", "stop it and leave nothing behind");
  pass("status", "what of it runs");
  pass("doctor", "is this machine fit for it?");
  program.command("edge").description("an edge by itself, in front of given upstreams (see edge --help)")
    .allowUnknownOption().allowExcessArguments().helpOption(false)
    .argument("[options...]")
    .action(async () => {
      const { runEdge } = await import("./commands/stack.ts");
      process.exitCode = await runEdge(stackArguments(process.argv.slice(2), "edge").slice(1));
    });
}

/** Pure: the command's name first, then everything else as it was typed. */
export function stackArguments(argv: readonly string[], name: string): string[] {
  const at = argv.indexOf(name);
  return [name, ...argv.slice(0, at), ...argv.slice(at + 1)];
}

function addApps(program: Command): void {
  const apps = program.command("apps").description("list, create, destroy apps");
  apps.command("list").alias("ls").description("the apps you may see").action(async (_, command: Command) =>
    await (await import("./commands/apps.ts")).listApps(await sessionOf(command))
  );
  apps.command("create").description("make an app").argument("<name>").action(async (
    name: string,
    _,
    command: Command,
  ) => await (await import("./commands/apps.ts")).createApp(await sessionOf(command), name));
  apps.command("destroy").description("destroy an app with all of its machines").argument("<name>").action(
    async (name: string, _, command: Command) =>
      await (await import("./commands/apps.ts")).destroyApp(await sessionOf(command), name),
  );
}

function addDeploy(program: Command): void {
  program.command("deploy").description("run an image as the app's next release")
    .option("-i, --image <ref>", "an image in a registry")
    .option("--dockerfile <file>", "build this Dockerfile; its folder is the context")
    .option("--oci-layout <folder>", "push the image of this OCI layout; FOLDER:TAG where it holds several")
    .option("-e, --env <name=value>", "a variable of the process; repeat it", collect)
    .option("--vm-memory <mb>", "memory, a multiple of 256", whole)
    .option("--vm-cpus <count>", "processors: 1, 2, 4, 8 or 16", whole)
    .option("--internal-port <port>", "where the app listens for HTTP", whole)
    .option("--no-service", "nothing listens: no requests reach it")
    .addOption(
      new Option("--restart <policy>", "when its process ends").choices(["no", "always", "on-failure"]),
    )
    .option("--machine-config <file>", "JSON: processes, files, swap and so on (MachineSettings)")
    .option("--wait-timeout <seconds>", "how long it may take to run and answer", whole)
    .option("--detach", "do not wait for the end of the deploy")
    .addOption(new Option("--command <words...>", "replaces the image's command; or write it after --"))
    .argument("[words...]", "after --: the command, instead of the image's")
    .action(async (words: string[], flags: DeployFlags & { command?: string[] }, command: Command) =>
      await (await import("./commands/deploy.ts")).deploy(
        await sessionOf(command),
        flags,
        flags.command ?? words,
      )
    );
}

function addMachine(program: Command): void {
  const machine = program.command("machine").alias("machines").description(
    "list, start, suspend, stop, destroy machines, run commands in them",
  );
  const load = () => import("./commands/machine.ts");
  machine.command("list").alias("ls").description("the machines of an app").action(async (
    _,
    command: Command,
  ) => await (await load()).listMachines(await sessionOf(command)));
  machine.command("status").description("what it is, how it is, how it last ended").argument("<id>").action(
    async (id: string, _, command: Command) =>
      await (await load()).machineStatus(await sessionOf(command), id),
  );
  machine.command("start").description("boot it, or go on where it was suspended").argument("<id>").option(
    "--no-wait",
    "return when it is accepted",
  )
    .action(async (id: string, flags: { wait: boolean }, command: Command) =>
      await (await load()).startMachine(await sessionOf(command), id, flags.wait)
    );
  machine.command("suspend").description("save its memory and free its host of it").argument("<id>").option(
    "--no-wait",
    "return when it is accepted",
  )
    .action(async (id: string, flags: { wait: boolean }, command: Command) =>
      await (await load()).suspendMachine(await sessionOf(command), id, flags.wait)
    );
  machine.command("stop").description("ask its process to end, and power off").argument("<id>").option(
    "--no-wait",
    "return when it is accepted",
  )
    .option("--signal <name>", "instead of the image's").option("--timeout <seconds>", "until SIGKILL", whole)
    .action(async (
      id: string,
      flags: { wait: boolean; signal?: string; timeout?: number },
      command: Command,
    ) => await (await load()).stopMachine(await sessionOf(command), id, flags, flags.wait));
  machine.command("destroy").description("remove it with its disk, in whatever state").argument("<id>")
    .option("--no-wait", "return when it is accepted")
    .action(async (id: string, flags: { wait: boolean }, command: Command) =>
      await (await load()).destroyMachine(await sessionOf(command), id, flags.wait)
    );
  addExec(machine);
}

function addExec(machine: Command): void {
  machine.command("exec").description("run a command in a machine; its exit code is this command's")
    .argument("<id>").argument(
      "[words...]",
      "the command, after -- where it has options; one word with blanks is for the machine's /bin/sh",
    )
    .option("-u, --user <name>", "as this user of the image, not the app's own")
    .option("--cwd <folder>", "in this folder")
    .option("-e, --env <name=value>", "a variable more; repeat it", collect)
    .option("--timeout <seconds>", "kill it after this", whole)
    .option("-i, --stdin", "pass stdin on")
    .action(async (id: string, words: string[], flags: ExecFlags, command: Command) =>
      await (await import("./commands/exec.ts")).execCommand(await sessionOf(command), id, words, flags)
    );
}

function addSsh(program: Command): void {
  const ssh = program.command("ssh").description("sessions and files in an app's machines");
  ssh.command("console").description("a shell in a machine; -C runs one command")
    .option("--machine <id>", "this machine, not just one that runs")
    .option("-C, --command <text>", "this instead of a shell; for the machine's /bin/sh")
    .option("-u, --user <name>", "as this user of the image, not the app's own")
    .option("--pty", "a terminal for -C, too")
    .action(async (flags: ConsoleFlags, command: Command) =>
      await (await import("./commands/ssh.ts")).openConsole(await sessionOf(command), flags)
    );
  const sftp = ssh.command("sftp").description("files of a machine");
  const load = () => import("./commands/sftp.ts");
  sftp.command("get").description("copy a file from a machine")
    .argument("<remote>").argument("[local]", "where to; a folder takes the file's own name")
    .option("--machine <id>", "this machine, not just one that runs").option(
      "--force",
      "replace what is there",
    )
    .action(async (remote: string, local: string | undefined, flags: GetFlags, command: Command) =>
      await (await load()).getFile(await sessionOf(command), remote, local, flags)
    );
  sftp.command("put").description("copy a file into a machine")
    .argument("<local>").argument("[remote]", "where to; ends with / for a folder")
    .option("--machine <id>", "this machine, not just one that runs").option(
      "--force",
      "replace what is there",
    )
    .option("-m, --mode <octal>", "permissions, for example 0755")
    .action(async (local: string, remote: string | undefined, flags: PutFlags, command: Command) =>
      await (await load()).putFile(await sessionOf(command), local, remote, flags)
    );
  sftp.command("ls").description("what lies in a folder").argument("[remote]", "a path", "/")
    .option("--machine <id>", "this machine, not just one that runs")
    .action(async (remote: string, flags: ListFlags, command: Command) =>
      await (await load()).listFolder(await sessionOf(command), remote, flags)
    );
  sftp.command("find").description("every path below one").argument("[remote]", "a path", "/")
    .option("--machine <id>", "this machine, not just one that runs")
    .action(async (remote: string, flags: ListFlags, command: Command) =>
      await (await load()).findPaths(await sessionOf(command), remote, flags)
    );
}

function addLogs(program: Command): void {
  program.command("logs").description("what an app's machines print")
    .option("-f, --follow", "go on with new lines")
    .option("--machine <id>", "of one machine")
    .option("-n, --tail <lines>", "how many old lines", whole, LOG_TAIL_DEFAULT)
    .action(async (flags: LogsFlags, command: Command) =>
      await (await import("./commands/logs.ts")).showLogs(await sessionOf(command), flags)
    );
}

function addRoute(program: Command): void {
  const route = program.command("route").description("where requests go");
  route.command("explain").description("each stage's decision about a request, and the rows behind it")
    .argument("<url>")
    .option("--region <code>", "as an edge there would decide")
    .option("-H, --header <name: value>", "of the request; repeat it", collect)
    .option("--at <time>", 'as it was then: 2026-11-28T19:34:05Z, or "5m ago"')
    .option("--edge <url>", "the admin listener to ask (GODWIT_EDGE_URL)")
    .action(async (url: string, flags: ExplainFlags, command: Command) =>
      await (await import("./commands/route.ts")).explainRoute(await sessionOf(command), url, flags)
    );
}

function addReplica(program: Command): void {
  const replica = program.command("replica").description(
    "what this machine's replica of the routing state holds",
  )
    .option("--socket <path>", "where it answers (GODWIT_REPLICA_SOCKET)");
  const load = () => import("./commands/replica.ts");
  replica.command("status").description("how fresh it is, and what is wrong with it")
    .action(async (_, command: Command) =>
      await (await load()).replicaStatus(await sessionOf(command), command.optsWithGlobals())
    );
  replica.command("query").description("one SELECT over its rows").argument("<sql>")
    .option("-p, --param <value>", "of a ? in it, a number or text; repeat it", collect)
    .action(async (sql: string, _, command: Command) =>
      await (await load()).replicaQuery(await sessionOf(command), sql, command.optsWithGlobals())
    );
  replica.command("watch").description("the rows of a SELECT, then each change").argument("<sql>")
    .option("-p, --param <value>", "of a ? in it, a number or text; repeat it", collect)
    .option("-k, --key <column>", "tells rows apart; repeat it (default: key, or all columns)", collect)
    .action(async (sql: string, _, command: Command) =>
      await (await load()).replicaWatch(await sessionOf(command), sql, command.optsWithGlobals())
    );
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...before ?? [], value];
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("it must be a whole number.");
  return Number(text);
}
