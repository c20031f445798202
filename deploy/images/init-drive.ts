/**
 * The init drive: vm-init compiled, with the C library that it needs. It must start in any root, `FROM scratch` and
 * musl included, so the binary names its own dynamic loader: ELF's PT_INTERP is overwritten with a path on this drive,
 * which is mounted at the same place in VMs and containers. (Starting the loader with the binary as its argument works
 * as well, but then PID 1 is called `ld.so`.)
 */
import { chmod, copyFile, mkdir, open } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { assert, GodwitError } from "../../control/contract/errors.ts";
import { runTool } from "./run-tool.ts";

const SOURCE = resolve(import.meta.dir, "../../vm-init/main.ts");
const INTERPRETER = "/.godwit/init/ld.so";
/** Same content, same drive: fixed time and volume id. */
const DRIVE_TIME_S = "0";
const DRIVE_UUID = "676f6477-6974-4d69-8e69-742064726976";

const PT_INTERP = 3;
const HEAD_BYTES = 4_096;

/** Fills `folder` with the drive's content; `source` is the program that is called vm-init there. */
export async function fillInitFolder(folder: string, source = SOURCE): Promise<void> {
  await mkdir(join(folder, "lib"), { recursive: true });
  const binary = join(folder, "vm-init");
  await runTool([
    process.execPath,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    source,
    "--outfile",
    binary,
  ]);
  for (const library of parseLibraries(await runTool(["ldd", binary]))) {
    const isLoader = basename(library).startsWith("ld-linux");
    await copyFile(library, isLoader ? join(folder, "ld.so") : join(folder, "lib", basename(library)));
  }
  await chmod(join(folder, "ld.so"), 0o755);
  await setInterpreter(binary, INTERPRETER);
  await chmod(binary, 0o755);
}

export async function makeInitDrive(folder: string, drive: string): Promise<void> {
  await runTool(["mkfs.erofs", "-T", DRIVE_TIME_S, "-U", DRIVE_UUID, "--all-root", drive, folder]);
}

/** Absolute paths in what ldd(1) prints. */
export function parseLibraries(shown: string): string[] {
  return [...shown.matchAll(/(?:=>\s+|^\s+)(\/\S+)\s+\(0x/gm)].map((match) => match[1]!);
}

async function setInterpreter(binary: string, path: string): Promise<void> {
  const file = await open(binary, "r+");
  try {
    const head = new Uint8Array(HEAD_BYTES);
    await file.read(head, 0, HEAD_BYTES, 0);
    const place = findInterpreter(head);
    const bytes = Buffer.from(`${path}\0`);
    if (place === null || bytes.length > place.length) {
      throw new GodwitError(
        "images.interpreter_unusable",
        `Cannot name ${path} as the loader of ${binary}: the binary has room for ${place?.length ?? 0} bytes`,
        { fault: "us" },
      );
    }
    await file.write(
      Buffer.concat([bytes, new Uint8Array(place.length - bytes.length)]),
      0,
      place.length,
      place.offset,
    );
  } finally {
    await file.close();
  }
}

/** Where PT_INTERP's text stands in a 64-bit little-endian ELF file (elf(5)). */
export function findInterpreter(head: Uint8Array): { offset: number; length: number } | null {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  assert(view.getUint32(0, true) === 0x464c457f && head[4] === 2, "a compiled binary is a 64-bit ELF file");
  const table = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) {
    const at = table + i * size;
    if (view.getUint32(at, true) !== PT_INTERP) continue;
    return {
      offset: Number(view.getBigUint64(at + 8, true)),
      length: Number(view.getBigUint64(at + 32, true)),
    };
  }
  return null;
}
