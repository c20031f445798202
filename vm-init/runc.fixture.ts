/** Runs vm-init in one runc container for a test, as vm-init/README.md tells drivers to. No network but loopback. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunConfig } from "../control/contract/run-config.ts";
import {
  CONTAINER_FOLDER,
  CONTROL_SOCKET,
  INIT_ENV,
  RUN_CONFIG_FILE,
} from "../control/contract/guest-limits.ts";
import { testGuest } from "../deploy/images/testbed.ts";
import { GuestSession } from "./session.fixture.ts";

const CAPABILITIES = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SYS_CHROOT",
  "CAP_NET_ADMIN",
];

export interface TestContainer {
  readonly session: GuestSession;
  readonly exited: Promise<number>;
  console(): string;
  connect(): Promise<GuestSession>;
  /** A signal to vm-init itself. */
  signal(name: string): void;
  stop(): Promise<void>;
}

export interface ContainerOptions {
  readonly memoryBytes?: number;
}

export async function startContainer(
  config: RunConfig,
  root: (folder: string) => string,
  { memoryBytes }: ContainerOptions = {},
): Promise<TestContainer> {
  const guest = await testGuest();
  const folder = mkdtempSync(join(tmpdir(), "godwit-container-"));
  const id = folder.split("/").at(-1)!;
  const at = (name: string) => join(folder, name);
  mkdirSync(at("control"));
  mkdirSync(at("state"));
  writeFileSync(at("run.json"), JSON.stringify(config), { mode: 0o400 });
  const bind = (destination: string, source: string, mode: "ro" | "rw") => ({
    destination,
    source,
    type: "bind",
    options: ["bind", mode],
  });
  const capabilities = { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES };
  writeFileSync(
    at("config.json"),
    JSON.stringify({
      ociVersion: "1.0.2",
      process: {
        terminal: false,
        user: { uid: 0, gid: 0 },
        args: [`${CONTAINER_FOLDER}/init/vm-init`],
        env: INIT_ENV,
        cwd: "/",
        capabilities,
        rlimits: [{ type: "RLIMIT_NOFILE", soft: config.limits.nofile, hard: config.limits.nofile }],
      },
      root: { path: root(folder), readonly: false },
      hostname: config.hostname,
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
        {
          destination: "/dev/pts",
          type: "devpts",
          source: "devpts",
          options: ["newinstance", "ptmxmode=0666"],
        },
        { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
        { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] },
        bind(`${CONTAINER_FOLDER}/init`, guest.initFolder, "ro"),
        bind(RUN_CONFIG_FILE, at("run.json"), "ro"),
        bind(CONTROL_SOCKET.replace(/\/[^/]*$/, ""), at("control"), "rw"),
      ],
      linux: {
        sysctl: config.sysctls ?? {},
        namespaces: ["pid", "mount", "network", "uts", "ipc"].map((type) => ({ type })),
        cgroupsPath: `/${id}`,
        ...(memoryBytes === undefined ? {} : { resources: { memory: { limit: memoryBytes } } }),
      },
    }),
  );
  const runc = (...args: string[]) => ["runc", "--root", at("state"), ...args];
  const child = Bun.spawn(runc("run", "--bundle", folder, id), {
    stdin: "ignore",
    stdout: Bun.file(at("console")),
    stderr: Bun.file(at("console.err")),
  });
  const exited = child.exited;
  const connect = () => GuestSession.connect(at("control/guest.sock"));
  const text = () => readFileSync(at("console"), "utf8") + readFileSync(at("console.err"), "utf8");
  const session = await Promise.race([
    connect(),
    exited.then((status) => {
      throw new Error(`runc ended with ${status} before the control socket was there: ${text()}`);
    }),
  ]);
  return {
    session,
    exited,
    console: text,
    connect,
    signal: (name) => void spawnSync("runc", runc("kill", id, name).slice(1)),
    stop: async () => {
      session.close();
      spawnSync("runc", runc("delete", "--force", id).slice(1));
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
