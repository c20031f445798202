/** The root of an image for tests: busybox and a few files. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const BUSYBOX = "/bin/busybox";

/** Files of an image: path to content; `bin/busybox` and applets it names are added. */
export function makeImage(folder: string, files: Record<string, string>, applets: readonly string[]): string {
  const root = join(folder, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode: content.startsWith("#!") ? 0o755 : 0o644 });
  }
  run(["cp", BUSYBOX, join(root, "bin/busybox")]);
  for (const applet of applets) run(["ln", "-sf", "busybox", join(root, "bin", applet)]);
  return root;
}

export function run(argv: readonly [string, ...string[]]): string {
  const { status, stdout, stderr, error } = spawnSync(argv[0], argv.slice(1), { encoding: "utf8" });
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}
