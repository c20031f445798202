/** Step volumes: each listed volume's ext4 on its mount point, which is made where the image lacks it. */
import { mkdirSync } from "node:fs";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { volumeDrive } from "../../control/contract/guest-limits.ts";
import { BootError, messageOf } from "../system/error.ts";
import { mount, MountFlag } from "../system/mount.ts";
import { insideRoot } from "./inside-root.ts";
import { skip, type Skipped } from "./life.ts";

/** Returns the mount points, in the order in which they were mounted. */
export function mountVolumes(volumes: RunConfig["volumes"]): string[] | Skipped {
  if (volumes === undefined || volumes.length === 0) return skip("the run configuration has no volumes");
  return volumes.map(({ path, read_only }, index) => {
    const device = volumeDrive(index);
    try {
      const target = insideRoot(path);
      mkdirSync(target, { recursive: true });
      const flags = MountFlag.noAtime | (read_only ? MountFlag.readOnly : 0);
      mount({ source: device, target, type: "ext4", flags });
      return target;
    } catch (error) {
      throw new BootError(`Cannot mount the volume ${device} at ${path}: ${messageOf(error)}`);
    }
  });
}
