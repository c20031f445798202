/** `bun run bench [NAME] [-- options]`: measures what deploy/PROMISES.md claims, beside its peer in the same run. */
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { pathWithSbin } from "../setup/packages.ts";
import { type Bench, describeMachine, readMachineInfo } from "./bench.ts";

/** Each lies in NAME.ts and exports `bench`. */
const benches: Record<string, () => Promise<{ bench: Bench }>> = {
  agent: () => import("./agent.ts"),
  "image-pull": () => import("./image-pull.ts"),
  init: () => import("./init.ts"),
  "machine-resume": () => import("./machine-resume.ts"),
  exec: () => import("./exec.ts"),
  "machine-start": () => import("./machine-start.ts"),
  relay: () => import("./relay.ts"),
  replica: () => import("./replica.ts"),
  route: () => import("./route.ts"),
};

process.env.PATH = pathWithSbin(process.env.PATH);
const [name, ...rest] = process.argv.slice(2);
try {
  if (name === undefined || name.startsWith("-")) await list();
  else await run(name, rest.filter((argument) => argument !== "--"));
} catch (error) {
  process.stderr.write(`\n${messageOf(error)}\n`);
  if (error instanceof GodwitError && error.hint !== null) process.stderr.write(`  ${error.hint}\n`);
  process.exitCode = error instanceof GodwitError && error.fault === "client" ? 2 : 1;
}

async function list(): Promise<void> {
  console.log("bun run bench NAME [-- options]\n");
  for (const [known, load] of Object.entries(benches)) {
    console.log(`  ${known.padEnd(16)}${(await load()).bench.summary}`);
  }
}

async function run(wanted: string, options: string[]): Promise<void> {
  const load = benches[wanted];
  if (load === undefined) {
    throw new GodwitError("bench.unknown", `There is no benchmark ${wanted}`, {
      fault: "client",
      hint: `there are: ${Object.keys(benches).join(", ")}`,
    });
  }
  const { bench } = await load();
  if (options.includes("--help")) return describe(wanted, bench);
  const machine = readMachineInfo();
  console.log(`${wanted}: ${bench.summary}`);
  console.log(describeMachine(machine));
  const result = await bench.run(options, (line) => console.log(line));
  console.log(JSON.stringify({ name: wanted, ...result, machine }));
}

function describe(name: string, { summary, help }: Bench): void {
  console.log(`bun run bench ${name} [-- options]: ${summary}\n`);
  console.log(help?.map((line) => `  ${line}`).join("\n") ?? "  deploy/bench/README.md has its options");
}
