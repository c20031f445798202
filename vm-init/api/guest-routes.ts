/** The routes beside a machine's life: what runs inside, commands, files, the disks. */
import { answer, bodyOf, type Routes } from "./answer.ts";
import { runExec } from "./exec.ts";
import { type Execs, ownerOf } from "./execs.ts";
import { pathFrom, receiveFile, sendFile } from "./files.ts";
import type { Freezer } from "./freezer.ts";
import { sendList } from "./list.ts";
import type { LogRing } from "./log-ring.ts";
import { metricsOf } from "./metrics.ts";
import { listProcesses } from "./processes.ts";
import { sysinfoOf } from "./sysinfo.ts";
import { BootError } from "../system/error.ts";

export interface GuestParts {
  readonly log: LogRing;
  readonly execs: Execs;
  readonly freezer: Freezer;
}

const MODE = /^[0-7]{1,4}$/;

export function guestRoutes({ log, execs, freezer }: GuestParts): Routes {
  return {
    "GET /v1/sysinfo": (stream) => answer(stream, 200, sysinfoOf()),
    "GET /v1/ps": (stream) => answer(stream, 200, listProcesses()),
    "GET /v1/metrics": (stream) => answer(stream, 200, metricsOf({ execs: execs.count, log: log.counts })),
    "POST /v1/exec": (stream) => runExec(stream, execs),
    "POST /v1/read": sendFile,
    "PUT /v1/files": (stream, query) =>
      receiveFile(stream, {
        path: pathFrom(query.get("path")),
        mode: modeOf(query.get("mode")),
        replace: query.get("replace") === "1",
        owner: ownerOf(execs.ground),
      }),
    "POST /v1/list": sendList,
    "POST /v1/freeze": async (stream) => {
      const { timeout_s } = await bodyOf(stream);
      if (typeof timeout_s !== "number") throw new BootError("Cannot freeze: the body must hold timeout_s");
      answer(stream, 200, { frozen: freezer.freeze(timeout_s) });
    },
    "POST /v1/thaw": (stream) => answer(stream, 200, freezer.thaw()),
  };
}

function modeOf(text: string | null): number | null {
  if (text === null) return null;
  if (MODE.test(text)) return Number.parseInt(text, 8);
  throw new BootError(`Cannot use the mode ${text}: not an octal number`);
}
