/**
 * A small world for the drivers' contract suite: an image with one shell script as its app, a layer, a machine's folders,
 * and eyes for what a driver left on the host.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newMachineId } from "../../contract/names.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import { testGuest } from "../../../deploy/images/testbed.ts";
import type { VmmDriver, VmSpec } from "./driver.ts";
import { allPids, argumentsOf } from "./host-process.ts";
import { cgroupNames } from "./runc/cgroups.ts";
import { netnsNames } from "./runc/netns.ts";
import { mountPointsBelow } from "./runc/rootfs.ts";

/** What the app of the test image does, by its first argument. */
const APP = `#!/bin/sh
case "$1" in
  serve)
    echo "to stdout"
    echo "to stderr" >&2
    [ -f /kept ] && echo "found what was kept"
    echo yes >/kept
    trap 'echo "got TERM"; exit 0' TERM
    trap 'echo "got HUP"' HUP
    httpd -p 8080 -h /www
    while :; do sleep 0.1; done ;;
  exit) [ -f /kept ] && echo "found what was kept"; exit "$2" ;;
  count)
    count=0
    trap 'count=$((count+1)); echo "count $count"' HUP
    echo "counting"
    while :; do sleep 0.1; done ;;
  stubborn) trap '' TERM; echo "deaf"; while :; do sleep 1; done ;;
esac
`;
const APPLETS = ["sh", "sleep", "httpd", "cat", "ls"];

export interface World {
  readonly guest: WorkerConfig["guest"];
  readonly folder: string;
  spec(args: string[], change?: Partial<VmSpec>): Promise<VmSpec>;
  remove(): void;
}

export async function makeWorld(): Promise<World> {
  const files = await testGuest();
  const folder = mkdtempSync(join(tmpdir(), "godwit-vmm-"));
  const runFolder = mkdtempSync("/run/godwit-vmm-");
  const prefix = `gw${Buffer.from(crypto.getRandomValues(new Uint8Array(3))).toString("hex")}`;
  const imageFile = await makeImage(folder);
  return {
    folder,
    guest: {
      kernel_file: files.kernelFile,
      vmlinux_file: files.vmlinuxFile,
      initramfs_file: files.initramfsFile,
      init_drive_file: files.initDriveFile,
      init_folder: files.initFolder,
    },
    spec: async (args, change = {}) => {
      const machineId = newMachineId();
      const machineFolder = join(folder, machineId);
      mkdirSync(machineFolder);
      const layerFile = join(machineFolder, "layer.ext4");
      await run(["truncate", "--size", "64M", layerFile]);
      await run(["mkfs.ext4", "-q", layerFile]);
      const spec = {
        machineId,
        folder: machineFolder,
        runFolder: join(runFolder, machineId),
        prefix,
        imageFile,
        layerFile,
      };
      return {
        ...spec,
        guest: GUEST,
        link: null,
        rates: { diskIops: null, diskBytesPerS: null, networkBytesPerS: null },
        attempt: 0,
        runConfig: runConfig(machineId, args),
        ...change,
      };
    },
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
      // Not recursive: whatever a broken driver left mounted there is not deleted through its mount.
      rmdirSync(runFolder);
    },
  };
}

const GUEST: VmSpec["guest"] = { cpu_kind: "shared", cpus: 1, memory_mb: 256 };

function runConfig(machineId: string, args: string[]): VmSpec["runConfig"] {
  return {
    schema: 1,
    mode: "vm",
    machine_id: machineId,
    app_name: "driver-test",
    region: "tst",
    hostname: machineId,
    image: {
      entrypoint: ["/bin/app"],
      cmd: args,
      env: ["PATH=/bin"],
      working_dir: "/",
      user: "",
      stop_signal: null,
    },
    entrypoint: null,
    command: null,
    env: {},
    host_clock_ms: Date.now(),
    network: null,
    hosts: [],
    stop: { signal: "SIGTERM", timeout_s: 5 },
    limits: { nofile: 4_096 },
  };
}

async function makeImage(folder: string): Promise<string> {
  const root = join(folder, "root");
  const busybox = Bun.which("busybox");
  if (busybox === null) throw new Error("the drivers' tests need busybox-static");
  for (const name of ["bin", "dev", "proc", "sys", "tmp", "www", "etc"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  copyFileSync(busybox, join(root, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "bin/app"), APP);
  chmodSync(join(root, "bin/app"), 0o755);
  writeFileSync(join(root, "www/index.html"), "hello from inside\n");
  const file = join(folder, "image.erofs");
  await run(["mkfs.erofs", "--all-root", file, root]);
  return file;
}

export async function run(argv: string[]): Promise<string> {
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (status !== 0) throw new Error(`${argv.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

/** All that is found of a machine on this host, in words; the kernel gets a moment to free loop devices. */
export async function tracesOf(driver: VmmDriver, spec: VmSpec): Promise<string[]> {
  for (let tries = 0;; tries++) {
    const traces = [
      ...(await driver.list(spec.prefix)).filter((id) => id === spec.machineId).map((id) => `listed: ${id}`),
      ...allPids().flatMap((pid) => {
        const line = argumentsOf(pid).join(" ");
        return line.includes(spec.machineId) && pid !== process.pid ? [`process: ${line}`] : [];
      }),
      ...mountPointsBelow(readFileSync("/proc/self/mountinfo", "utf8"), spec.runFolder).map((p) =>
        `mount: ${p}`
      ),
      ...loopFiles().filter((file) => file.startsWith(spec.layerFile)).map((file) => `loop device: ${file}`),
      ...cgroupNames().filter((name) => name.includes(spec.machineId)).map((name) => `cgroup: ${name}`),
      ...netnsNames().filter((name) => name.includes(spec.machineId)).map((name) => `netns: ${name}`),
      ...(existsSync(spec.runFolder) ? [`run folder: ${readdirSync(spec.runFolder).join(" ")}`] : []),
    ];
    if (traces.length === 0 || tries === 100) return traces;
    await Bun.sleep(10);
  }
}

/** Backing files of all loop devices in use. */
function loopFiles(): string[] {
  return readdirSync("/sys/block").flatMap((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    try {
      return existsSync(file) ? [readFileSync(file, "utf8").trim()] : [];
    } catch {
      return []; // Freed between the two looks.
    }
  });
}
