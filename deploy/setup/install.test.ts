import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { installMissing } from "./install.ts";
import { missingPackages, PACKAGES, whichCommand } from "./packages.ts";
import { enabledServices, newlyEnabled } from "./services.ts";

const repository = resolve(import.meta.dir, "../..");

/** What must not change: the services that boot and the files of /boot. */
function bootState() {
  const boot = readdirSync("/boot").map((name) => `${name} ${statSync(join("/boot", name)).mtimeMs}`).sort();
  return { boot, services: enabledServices() };
}

/** Runs a command in a copy-on-write view of this system; nothing of it reaches the system itself. */
async function inThrowawaySystem(folder: string, argv: string[]) {
  const script = `set -e
mount -t tmpfs -o size=1g tmpfs "$1"; mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
for m in proc sys dev tmp; do mount --rbind "/$m" "$1/root/$m"; done
mkdir -p "$1/root$2"; mount --rbind "$2" "$1/root$2"
rm -f "$1/root/usr/sbin/policy-rc.d"
root="$1/root"; cd "$2"; shift 2; exec chroot "$root" "$@"`;
  const child = Bun.spawn(
    ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", folder, repository, ...argv],
    { stdout: "pipe", stderr: "pipe", stdin: "ignore" },
  );
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}

describe("installMissing()", () => {
  test("finds nothing to do, and changes nothing, where all is there", async () => {
    if (missingPackages({ forCheck: false, which: whichCommand }).length > 0) {
      return console.log("skipped: packages are missing here; `bun run check` installs them first");
    }
    const before = bootState();
    expect(await installMissing({ forCheck: false, mayInstall: false, say: () => {} })).toEqual([]);
    const after = bootState();
    expect(after.boot).toEqual(before.boot);
    expect(newlyEnabled(before.services, after.services)).toEqual({ units: [], scripts: [] });
  });

  test("lists what is missing and why, and stops, where it may not install", async () => {
    const missing = missingPackages({ forCheck: false, which: () => null });
    expect(missing.map((p) => p.name)).toContain("qemu-system-x86");
    expect(new Set(PACKAGES.map((p) => p.name)).size).toBe(PACKAGES.length);
    const error = await installMissing({
      forCheck: false,
      mayInstall: false,
      say: () => {},
      which: () => null,
    }).catch((e) => e);
    expect(error).toBeInstanceOf(GodwitError);
    expect(error.code).toBe("setup.packages_missing");
    expect(error.message).toContain("runs the machines");
    expect(error.hint).toContain("apt-get install");
  });
});

test("missingPackages() wants the peers for benchmarks alone, and nothing else for them", () => {
  const names = (wanted: { forCheck: boolean; forBench?: boolean }) =>
    missingPackages({ ...wanted, which: () => null }).map((p) => p.name);
  expect(names({ forCheck: false })).not.toContain("haproxy");
  expect(names({ forCheck: true })).toContain("curl");
  expect(names({ forCheck: true })).not.toContain("wrk");
  expect(names({ forCheck: false, forBench: true })).toContain("haproxy");
  expect(names({ forCheck: false, forBench: true })).not.toContain("redis-server");
});

describe("installPackages()", () => {
  test("installs a service without starting or enabling it, and leaves /boot alone", async () => {
    if (process.getuid?.() !== 0) return console.log("skipped: a throwaway system needs root");
    const folder = mkdtempSync(join(tmpdir(), "godwit-install-"));
    try {
      const before = bootState();
      const fixture = join(import.meta.dir, "install.fixture.ts");
      const run = await inThrowawaySystem(folder, [process.execPath, fixture, "tinyproxy"]);
      if (/Could not resolve|Could not connect|Failed to fetch/.test(run.stderr)) {
        return console.log("skipped: no Debian mirror can be reached");
      }
      expect(run.stderr).toBe("");
      expect(JSON.parse(run.stdout)).toEqual({
        enabled: { units: [], scripts: [] },
        lost: { units: [], scripts: [] },
        policyLeft: false,
      });
      const after = bootState();
      expect(after).toEqual(before);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
