/**
 * The jailer and Firecracker in one process, for tests on a machine where neither can run: `jailer.fixture.ts WORLD SWAGGER
 * ARGUMENTS…`. The same command line, the same jail (its own user, its own root, its own cgroup), the same API, but no VM:
 * guest-host.fixture.ts runs vm-init in a container. Unlike the real one it keeps its pid by not calling exec at all.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { settled } from "./bridge.fixture.ts";
import { Devices, isElf } from "./devices.fixture.ts";
import { GuestHost } from "./guest-host-client.fixture.ts";
import { Swagger } from "./swagger.fixture.ts";
import { becomeUser, changeRoot, makeDevice, osErrorOf } from "./system.fixture.ts";
import { VmmState } from "./vmm-state.fixture.ts";

export const FAKE_VERSION = "1.16.1";
const BODY_BYTES_MAX = 51_200;
/** FcExitCode: ArgParsing, BadConfiguration, GenericError. */
const EXIT = { arguments: 153, configuration: 152, error: 1 } as const;
const VALUES = [
  "id",
  "exec-file",
  "uid",
  "gid",
  "chroot-base-dir",
  "netns",
  "cgroup-version",
  "parent-cgroup",
];
const MANY = ["cgroup", "resource-limit"];
const FLAGS = ["daemonize", "new-pid-ns"];
const FIRECRACKER_VALUES = ["api-sock", "config-file", "log-path", "level", "metrics-path"];
const FIRECRACKER_FLAGS = ["no-api", "enable-pci", "boot-timer"];

function fail(message: string, status: number = EXIT.error): never {
  console.error(message);
  process.exit(status);
}

interface Parsed {
  readonly values: Map<string, string[]>;
  readonly rest: string[];
}

/** As utils::arg_parser does: unknown, doubled and missing ones are refused. */
function parse(argv: string[], values: string[], many: string[], flags: string[]): Parsed {
  const found = new Map<string, string[]>();
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at]!;
    if (argument === "--") return { values: found, rest: argv.slice(at + 1) };
    const name = argument.replace(/^--/, "");
    if (!argument.startsWith("--") || ![...values, ...many, ...flags].includes(name)) {
      fail(
        `Failed to parse arguments: Found argument '${name}' which wasn't expected, or isn't valid in this context.`,
      );
    }
    if (found.has(name) && !many.includes(name)) {
      fail(`Failed to parse arguments: The argument '${name}' was provided more than once.`);
    }
    const value = flags.includes(name) ? "" : argv[++at];
    if (value === undefined) {
      fail(`Failed to parse arguments: The argument '${name}' requires a value, but none was supplied.`);
    }
    found.set(name, [...found.get(name) ?? [], value]);
  }
  return { values: found, rest: [] };
}

const [world, swaggerFile, ...argv] = process.argv.slice(2) as [string, string, ...string[]];
const { values, rest } = parse(argv, VALUES, MANY, FLAGS);
const one = (name: string) => {
  const value = values.get(name)?.[0];
  if (value === undefined) fail(`Failed to parse arguments: Argument '${name}' required, but not found.`);
  return value;
};

// The jailer.
const id = one("id");
if (!/^[A-Za-z0-9-]{1,64}$/.test(id)) fail(`Invalid instance ID: ${id}`);
const exec = realpathSync(one("exec-file"));
const base = realpathSync(one("chroot-base-dir"));
const user = Number(one("uid"));
if (user !== Number(one("gid"))) fail("the fake knows one number for user and group");
const root = join(base, basename(exec), id, "root");
mkdirSync(root, { recursive: true });
copyFileSync(exec, join(root, basename(exec)));
chownSync(join(root, basename(exec)), user, user);
const swagger = swaggerFile === "none" ? null : Swagger.load(swaggerFile);
const withApi = !rest.includes("--no-api");
// Outside of the cgroup, and with the host's root.
const guest = withApi ? new GuestHost(world, { root, user }) : null;
joinCgroup(one("cgroup-version"), one("parent-cgroup"), values.get("cgroup") ?? []);
changeRoot(root);
for (const folder of ["/", "/dev", "/dev/net", "/run"]) {
  if (!existsSync(folder)) mkdirSync(folder);
  chmodSync(folder, 0o700);
  chownSync(folder, user, user);
}
for (
  const [path, major, minor] of [["/dev/net/tun", 10, 200], ["/dev/kvm", 10, 232], [
    "/dev/urandom",
    1,
    9,
  ]] as const
) {
  makeDevice(path, major, minor);
  chownSync(path, user, user);
}
becomeUser(user);

// Firecracker.
const own = parse(rest, FIRECRACKER_VALUES, [], FIRECRACKER_FLAGS).values;
console.log(`Running Firecracker v${FAKE_VERSION}`);
if (guest === null) bootFromFile(own.get("config-file")?.[0]);
else serve(guest, own.get("api-sock")?.[0] ?? "/run/firecracker.socket");

function serve(host: GuestHost, socket: string): void {
  const devices = new Devices(host);
  const vmm = new VmmState(id, FAKE_VERSION, devices, swagger);
  void host.exited.then(async () => {
    await settled();
    devices.flushMetrics();
    process.exit(0);
  });
  let last: Promise<unknown> = Promise.resolve();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      // One at a time, as the VMM's thread takes them.
      last = last.then(async () => {
        const answer = body.length > BODY_BYTES_MAX
          ? { status: 413, body: { fault_message: "Request payload with size exceeded" } }
          : await vmm.handle(request.method ?? "", request.url ?? "", body.toString("utf8"));
        const text = answer.body === undefined ? "" : JSON.stringify(answer.body);
        if (answer.status >= 400) {
          devices.say(`Received Error. Status code: ${answer.status} Bad Request. Message: ${text}`);
        }
        response.writeHead(
          answer.status,
          text === "" ? { Server: "Firecracker API", Connection: "keep-alive" } : {
            Server: "Firecracker API",
            "Content-Type": "application/json",
            "Content-Length": Buffer.byteLength(text),
          },
        );
        response.end(text === "" ? undefined : text, () => {
          if ("fatal" in answer && answer.fatal === true) {
            fail("Error: RunWithApi(MicroVMStoppedWithError(GenericError))");
          }
        });
      });
    });
  });
  server.keepAliveTimeout = 0;
  server.on("error", (error) => fail(`Error: RunWithApi(FailedToBindSocket): ${osErrorOf(error)}`));
  server.listen(socket);
}

/** Only as far as a probe goes: its kernel would say one word by busybox. */
function bootFromFile(file: string | undefined): never {
  if (file === undefined) fail("Error: ParseArguments(MissingArgument)", EXIT.arguments);
  const config = JSON.parse(readFileSync(file, "utf8"));
  for (
    const [path, definition] of [["boot-source", "BootSource"], [
      "machine-config",
      "MachineConfiguration",
    ]] as const
  ) {
    const fault = swagger?.fault(definition, config[path]) ?? null;
    if (fault !== null) fail(`Error: Invalid JSON: ${fault}`, EXIT.configuration);
  }
  const { kernel_image_path: kernel, boot_args: args } = config["boot-source"];
  if (!isElf(kernel)) fail("Error: Start microvm error: Kernel Loader: failed to load ELF kernel image");
  const word = /rdinit=\/bin\/busybox -- echo (\S+)$/.exec(args)?.[1];
  console.log(word ?? "Kernel panic - not syncing: No working init found.");
  process.exit(0);
}

/** cgroup.rs: PARENT/ID below the hierarchy of each file's controller; nothing is removed later. */
function joinCgroup(version: string, parent: string, files: readonly string[]): void {
  for (const file of files) {
    const [name = "", value = ""] = file.split("=");
    const controller = name.split(".")[0]!;
    const hierarchy = version === "2" ? "/sys/fs/cgroup" : `/sys/fs/cgroup/${controller}`;
    if (!existsSync(hierarchy)) fail(`Controller ${controller} is unavailable`);
    const folder = join(hierarchy, parent, id);
    mkdirSync(folder, { recursive: true });
    if (version === "2") {
      for (const above of [hierarchy, join(hierarchy, parent)]) {
        appendFileSync(join(above, "cgroup.subtree_control"), `+${controller}`);
      }
    }
    writeFileSync(join(folder, name), value);
    writeFileSync(join(folder, version === "2" ? "cgroup.procs" : "tasks"), String(process.pid));
  }
  if (files.length === 0 && version === "2" && statSync(join("/sys/fs/cgroup", parent)).isDirectory()) {
    writeFileSync(join("/sys/fs/cgroup", parent, "cgroup.procs"), String(process.pid));
  }
}
