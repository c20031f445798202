/** `bun run build`: compiles dist/godwit, one file that needs no Bun beside it. */
import { mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");
const file = join(root, "dist", "godwit");
mkdirSync(join(root, "dist"), { recursive: true });
const argv = [process.execPath, "build", "--compile", "--bytecode", "--format=esm", "--minify"];
const child = Bun.spawn([...argv, join(import.meta.dir, "main.ts"), "--outfile", file], {
  cwd: root,
  stdin: "ignore",
  stdout: "ignore",
  stderr: "inherit",
});
const status = await child.exited;
if (status === 0) console.log(`${file}  ${Math.round(statSync(file).size / 1_048_576)} MB`);
process.exit(status);
