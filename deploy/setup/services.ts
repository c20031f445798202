/**
 * A good guest starts nothing that its user did not ask for. Debian starts and enables the services of the packages it
 * installs; here a temporary policy-rc.d (invoke-rc.d(8)) keeps them from starting, and afterwards exactly the units and
 * init scripts that this run enabled are disabled again. What was enabled before is never touched.
 *
 * Enablement is read from the links themselves (/etc/systemd/system, /etc/rc?.d), so that it works where systemd is
 * installed and does not run, as in a chroot.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

export const POLICY_FILE = "/usr/sbin/policy-rc.d";
const POLICY = "#!/bin/sh\n# Made by Godwit while it installs packages; removed right after.\nexit 101\n";

/**
 * Keeps services off until the returned function is called. A policy that is there already stays as it is, unless it is
 * ours: a run that was killed with -9 left it, and nothing else would ever let the host's services start again.
 */
export function keepServicesOff(policyFile = POLICY_FILE): () => void {
  if (existsSync(policyFile) && readFileSync(policyFile, "utf8") !== POLICY) return () => {};
  writeFileSync(policyFile, POLICY, { mode: 0o755 });
  const restore = () => rmSync(policyFile, { force: true });
  const onSignal = (signal: NodeJS.Signals) => {
    restore();
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.once("exit", restore);
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  process.once("SIGHUP", onSignal);
  return () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(signal, onSignal);
    process.off("exit", restore);
    restore();
  };
}

export interface Enabled {
  /** systemd units that something wants or that have an alias, `redis-server.service`. */
  readonly units: ReadonlySet<string>;
  /** init scripts that a runlevel starts, `redis-server`. */
  readonly scripts: ReadonlySet<string>;
}

/** What the system below `root` starts at boot. */
export function enabledServices(root = "/"): Enabled {
  const units = new Set<string>();
  const systemd = join(root, "etc/systemd/system");
  for (const folder of list(systemd).filter((name) => /\.(wants|requires)$/.test(name))) {
    for (const unit of list(join(systemd, folder))) units.add(unit);
  }
  const scripts = new Set<string>();
  for (const folder of list(join(root, "etc")).filter((name) => /^rc[0-9S]\.d$/.test(name))) {
    for (const link of list(join(root, "etc", folder))) {
      const match = /^S\d\d(.+)$/.exec(link);
      if (match !== null) scripts.add(match[1]!);
    }
  }
  return { units, scripts };
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => basename(name)) : [];
}

/** What `after` starts that `before` did not. */
export function newlyEnabled(before: Enabled, after: Enabled): { units: string[]; scripts: string[] } {
  return {
    units: [...after.units].filter((unit) => !before.units.has(unit)).sort(),
    scripts: [...after.scripts].filter((script) => !before.scripts.has(script)).sort(),
  };
}

/** The commands that take those services back out of the boot, in the order to run them. */
export function disableCommands(
  fresh: { units: string[]; scripts: string[] },
  systemctl: boolean,
): string[][] {
  const disableUnit = systemctl ? ["systemctl", "disable", "--quiet"] : ["deb-systemd-helper", "disable"];
  return [
    // Also through update-rc.d, which leaves K links, so that an upgrade of the package does not enable it again.
    ...fresh.scripts.map((script) => ["update-rc.d", script, "disable"]),
    ...fresh.units.map((unit) => [...disableUnit, unit]),
  ];
}
