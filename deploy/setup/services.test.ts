import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { disableCommands, enabledServices, keepServicesOff, newlyEnabled } from "./services.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-services-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("keepServicesOff()", () => {
  test("makes a policy only where none is, and removes just its own", () => {
    const policy = join(folder, "policy-rc.d");
    const restore = keepServicesOff(policy);
    expect(readFileSync(policy, "utf8")).toContain("exit 101");
    restore();
    expect(existsSync(policy)).toBe(false);

    writeFileSync(policy, "#!/bin/sh\nexit 0\n");
    keepServicesOff(policy)();
    expect(readFileSync(policy, "utf8")).toBe("#!/bin/sh\nexit 0\n");
  });

  test("takes away what a run of its own left that was killed", () => {
    const policy = join(folder, "policy-left");
    keepServicesOff(policy);
    keepServicesOff(policy)();
    expect(existsSync(policy)).toBe(false);
  });
});

describe("newlyEnabled()", () => {
  test("names the units and scripts that a run added, and none that were there", () => {
    const wants = join(folder, "etc/systemd/system/multi-user.target.wants");
    const rc2 = join(folder, "etc/rc2.d");
    mkdirSync(wants, { recursive: true });
    mkdirSync(rc2, { recursive: true });
    symlinkSync("/lib/systemd/system/ssh.service", join(wants, "ssh.service"));
    symlinkSync("../init.d/ssh", join(rc2, "S01ssh"));
    const before = enabledServices(folder);
    symlinkSync("/lib/systemd/system/redis-server.service", join(wants, "redis-server.service"));
    symlinkSync("../init.d/redis-server", join(rc2, "S02redis-server"));
    symlinkSync("../init.d/nginx", join(rc2, "K02nginx"));
    const fresh = newlyEnabled(before, enabledServices(folder));
    expect(fresh).toEqual({ units: ["redis-server.service"], scripts: ["redis-server"] });
    expect(disableCommands(fresh, true)).toEqual([
      ["update-rc.d", "redis-server", "disable"],
      ["systemctl", "disable", "--quiet", "redis-server.service"],
    ]);
    expect(disableCommands({ units: [], scripts: [] }, true)).toEqual([]);
  });
});
