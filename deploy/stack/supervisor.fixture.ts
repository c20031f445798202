/** A supervisor of two sleeping processes, to be killed with -9 (supervisor.test.ts). `bun … RUN_FOLDER LOG_FOLDER` */
import { join } from "node:path";
import { startServer } from "../servers/child.ts";
import { recordOf, writeRecord } from "./identity.ts";
import { Supervisor } from "./supervisor.ts";

const [runFolder, logs] = process.argv.slice(2) as [string, string];
const parts = ["first", "second"].map((name) => {
  const logFile = join(logs, `${name}.log`);
  const ready = () => Promise.resolve(true);
  return {
    name,
    logFile,
    start: (onSpawn: (pid: number) => void) =>
      startServer({ name, argv: ["sleep", "1000"], logFile, ready, onSpawn }),
  };
});
writeRecord(runFolder, recordOf("supervisor", process.pid)!);
await new Supervisor(parts, runFolder, () => {}).startAll();
console.log("running");
