/** Puts the fake where the driver looks for programs: two scripts in a folder of the test's own. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { FirecrackerPrograms } from "../firecracker-driver.ts";
import { keeperGone, remove } from "./guest-host.fixture.ts";
import { Swagger, SWAGGER_FILE } from "./swagger.fixture.ts";

export interface Fake {
  readonly programs: FirecrackerPrograms;
  /** What VMs that nobody wants any more left behind: memory that was saved and dropped. */
  remove(): Promise<void>;
}

export function installFake(version = "1.16.1"): Fake {
  const folder = mkdtempSync("/run/godwit-fake-");
  const world = mkdtempSync("/run/godwit-fake-world-");
  const swagger = Swagger.load() === null ? "none" : SWAGGER_FILE;
  const jailer = join(folder, "jailer");
  const program = [process.execPath, join(import.meta.dir, "jailer.fixture.ts"), world, swagger];
  // The jailer's name as its own, as it would have it.
  writeFileSync(jailer, `#!/bin/bash\nexec -a jailer ${program.join(" ")} "$@"\n`, { mode: 0o755 });
  const firecracker = join(folder, "firecracker");
  const words = `Firecracker v${version}\n`;
  writeFileSync(firecracker, `#!/bin/sh\n[ "$1" = --version ] && printf '${words}'\n`, { mode: 0o755 });
  return {
    programs: { jailer, firecracker },
    remove: async () => {
      for (const name of readdirSync(world)) {
        const file = join(world, name, "inner.json");
        if (!existsSync(file)) continue;
        const inner = JSON.parse(readFileSync(file, "utf8"));
        await keeperGone(inner);
        if (existsSync(file)) await remove(inner);
      }
      rmdirSync(world);
      rmSync(folder, { recursive: true });
    },
  };
}
