/**
 * Runs inside a throwaway copy of the system (install.test.ts): installs the packages named in argv the way `up` does and
 * prints what that did to the boot.
 */
import { existsSync } from "node:fs";
import { installPackages } from "./install.ts";
import { enabledServices, newlyEnabled, POLICY_FILE } from "./services.ts";

const before = enabledServices();
await installPackages(process.argv.slice(2));
console.log(JSON.stringify({
  enabled: newlyEnabled(before, enabledServices()),
  lost: newlyEnabled(enabledServices(), before),
  policyLeft: existsSync(POLICY_FILE),
}));
