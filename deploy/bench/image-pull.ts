/**
 * From a reference in a registry to a read-only base: the worker's image store beside `skopeo copy`, `umoci raw unpack` and
 * `mkfs.erofs` in a shell script. Same registry, same image, same disk; both begin with nothing. The worker checks every
 * digest and every entry on the way, the script what the tools check by themselves.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import { openImageStore } from "../../control/worker/images/image-store.ts";
import { nginxAsRoot } from "../e2e/images/nginx.ts";
import { freePort, newPassword } from "../servers/child.ts";
import { type RegistryServer, startRegistry } from "../servers/registry.ts";
import type { Bench } from "./bench.ts";
import { wholeNumber } from "./options.ts";
import { alternate, median, ratioOf } from "./rounds.ts";

const ROUNDS_DEFAULT = 9;
const OURS = "the worker's store";
const SCRIPT = "skopeo, umoci, mkfs.erofs";

export const bench: Bench = {
  summary: "an image from a registry to a read-only base, over skopeo copy + umoci unpack + mkfs.erofs",
  async run(options, say) {
    const { values } = parseArgs({ args: options, options: { rounds: { type: "string" } } });
    const rounds = wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT);
    const folder = mkdtempSync(join(tmpdir(), "godwit-bench-images-"));
    let registry: RegistryServer | null = null;
    try {
      registry = await startRegistry({
        folder: join(folder, "registry"),
        port: await freePort(),
        password: newPassword(),
        logFile: join(folder, "registry.log"),
      });
      return await measure(folder, registry, rounds, say);
    } finally {
      await registry?.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function measure(
  folder: string,
  registry: RegistryServer,
  rounds: number,
  say: (line: string) => void,
) {
  const image = await nginxAsRoot();
  const ref = await image.pushTo({ host: registry.host, authFile: registry.authFile, insecure: true });
  const script = scriptOf(ref, registry.authFile);
  say(`\nthe image: ${ref}`);
  say(`\nby hand:\n${script.replace(/^/gm, "  ")}`);
  say(`\nours: openImageStore(…).ensure("${ref}"), an empty store each time\n`);
  let bytes = 0;
  const ours = async () => {
    const place = mkdtempSync(join(folder, "store-"));
    const store = await openImageStore({
      folder: join(place, "images"),
      runFolder: join(place, "run"),
      auth_file: registry.authFile,
      insecure_registries: [registry.host],
      cache_mb_max: 4_096,
      image_mb_max: 4_096,
      files_max: 1_000_000,
    });
    const begun = performance.now();
    bytes = (await store.ensure(ref)).size_bytes;
    const ms = performance.now() - begun;
    rmSync(place, { recursive: true, force: true });
    return ms;
  };
  const byHand = async () => {
    const place = mkdtempSync(join(folder, "hand-"));
    mkdirSync(join(place, "tmp"));
    writeFileSync(join(place, "pull.sh"), script);
    const begun = performance.now();
    const child = Bun.spawn(["sh", "-e", join(place, "pull.sh")], {
      cwd: place,
      env: { PATH: process.env.PATH ?? "", HOME: place, TMPDIR: join(place, "tmp") },
      stdout: "ignore",
      stderr: "pipe",
    });
    const [said, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    const ms = performance.now() - begun;
    rmSync(place, { recursive: true, force: true });
    if (status !== 0) {
      throw new GodwitError("bench.peer_failed", `The script failed: ${said}`, { fault: "us" });
    }
    return ms;
  };
  await ours(); // once each before it counts: the registry's files are in the page cache
  await byHand();
  const figures = await alternate(
    rounds,
    [{ name: OURS, run: ours }, { name: SCRIPT, run: byHand }],
    (round, name, ms) => say(`round ${round + 1}  ${name.padEnd(26)} ${Math.round(ms)} ms`),
  );
  const [oursMs, handMs] = [figures.get(OURS)!, figures.get(SCRIPT)!];
  return {
    ratio: ratioOf(oursMs, handMs),
    pull_ms: Math.round(median(oursMs)),
    script_ms: Math.round(median(handMs)),
    base_bytes: bytes,
    rounds,
  };
}

function scriptOf(ref: string, authFile: string): string {
  return [
    `skopeo copy --insecure-policy --quiet --src-tls-verify=false --src-authfile ${authFile} docker://${ref} oci:layout:v1`,
    "umoci raw unpack --image layout:v1 root",
    "mkfs.erofs --quiet base.erofs root",
    "sync base.erofs",
  ].join("\n") + "\n";
}
