/** Installs the Debian packages that are missing, as a good guest does: nothing starts, nothing is enabled, /boot is untouched. */
import { existsSync } from "node:fs";
import { GodwitError } from "../../control/contract/errors.ts";
import {
  listPackages,
  missingPackages,
  type Package,
  type PackagesFor,
  pathWithSbin,
  whichCommand,
} from "./packages.ts";
import { disableCommands, enabledServices, keepServicesOff, newlyEnabled } from "./services.ts";

/** How long apt may wait for another apt or dpkg to finish. */
export const APT_LOCK_WAIT_S = 120;
/** How long one apt call may take: a few hundred megabytes on a slow line. */
const APT_CALL_MS_MAX = 20 * 60_000;
const ERROR_TAIL_CHARACTERS = 1_500;
const STALE_LISTS = /\b404\b|Failed to fetch|Unable to fetch/;

export interface InstallOptions extends PackagesFor {
  /** Where false, what is missing is an error that lists it. */
  readonly mayInstall: boolean;
  /** Says what goes on, one line a call. */
  readonly say: (line: string) => void;
  /** @default the PATH and the sbin folders */
  readonly which?: (command: string) => string | null;
}

/** Resolves to what was installed. Throws `setup.packages_missing` where it may or can not install. */
export async function installMissing(options: InstallOptions): Promise<readonly Package[]> {
  const which = options.which ?? whichCommand;
  const missing = missingPackages({ ...options, which });
  if (missing.length === 0) return [];
  const obstacle = obstacleToInstalling(options.mayInstall);
  if (obstacle !== null) {
    throw new GodwitError(
      "setup.packages_missing",
      `${missing.length} needed Debian packages are not installed, and ${obstacle}:\n${
        listPackages(missing)
      }`,
      { fault: "client", hint: `as root: apt-get install ${missing.map((p) => p.name).join(" ")}` },
    );
  }
  options.say(
    `installing ${missing.length} Debian packages, their services kept off:\n${listPackages(missing)}`,
  );
  await installPackages(missing.map((p) => p.name));
  const still = missingPackages({ ...options, which });
  if (still.length > 0) {
    throw new GodwitError(
      "setup.package_without_command",
      `apt installed the packages, yet ${
        still.map((p) => `${p.proof} (${p.name})`).join(", ")
      } cannot be found`,
      { fault: "us", hint: "see whether the packages' files are complete: dpkg --verify" },
    );
  }
  return missing;
}

function obstacleToInstalling(mayInstall: boolean): string | null {
  if (!mayInstall) return "--no-install was given";
  if (whichCommand("apt-get") === null) return "this system has no apt-get";
  if (process.getuid?.() !== 0) return "only root can install them";
  return null;
}

/** The apt part alone: also used by the test, with other packages. */
export async function installPackages(names: readonly string[]): Promise<void> {
  const before = enabledServices();
  const servicesMayStart = keepServicesOff();
  try {
    await installWithFreshLists(names);
  } finally {
    servicesMayStart();
    const systemctl = whichCommand("systemctl") !== null;
    for (const argv of disableCommands(newlyEnabled(before, enabledServices()), systemctl)) await run(argv);
  }
}

/** False where apt's lists are absent or do not know one of the packages. */
async function candidatesKnown(names: readonly string[]): Promise<boolean> {
  if (!existsSync("/var/lib/apt/lists")) return false;
  return (await run(["apt-get", "--simulate", "--yes", "install", ...names])).status === 0;
}

/** A list that is older than the mirror names files that are gone: one update, one more try. */
async function installWithFreshLists(names: readonly string[]): Promise<void> {
  const install = ["install", "--yes", "--no-install-recommends", "--no-remove", ...names];
  if (!await candidatesKnown(names)) await apt(["update"]);
  try {
    await apt(install);
  } catch (error) {
    if (!(error instanceof GodwitError) || !STALE_LISTS.test(error.message)) throw error;
    await apt(["update"]);
    await apt(install);
  }
}

async function apt(args: string[]): Promise<void> {
  const argv = ["apt-get", "--quiet", "-o", `DPkg::Lock::Timeout=${APT_LOCK_WAIT_S}`, ...args];
  const { status, output } = await run(argv);
  if (status === 0) return;
  throw new GodwitError(
    "setup.apt",
    `${argv.join(" ")} ended with ${status}:\n${output.trim().slice(-ERROR_TAIL_CHARACTERS)}`,
    {
      fault: "us",
      retryable: true,
      hint: STALE_LISTS.test(output)
        ? "run `apt-get update`, check that the mirror can be reached, then run the command again"
        : "repair what apt names above, or install the packages by hand",
    },
  );
}

async function run(argv: string[]): Promise<{ status: number; output: string }> {
  const child = Bun.spawn(argv, {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: APT_CALL_MS_MAX,
    env: {
      ...process.env,
      PATH: pathWithSbin(process.env.PATH),
      LC_ALL: "C.UTF-8",
      DEBIAN_FRONTEND: "noninteractive",
      APT_LISTCHANGES_FRONTEND: "none",
      // needrestart(1) on Ubuntu would restart services of the host: list only.
      NEEDRESTART_MODE: "l",
      NEEDRESTART_SUSPEND: "1",
    },
  });
  const [output, errors, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, output: output + errors };
}
