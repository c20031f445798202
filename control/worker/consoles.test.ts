import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { keepConsolesShort } from "./consoles.ts";
import { consoleFile } from "./vmm/console-file.ts";
import { CONSOLE_BYTES_MAX } from "./vmm/driver.ts";

const PIECE = Buffer.alloc(65_536, "x");

test(
  "keepConsolesShort() bounds a console that is written without end, and passes over machines that have none",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-consoles-"));
    const end = new AbortController();
    // As a VMM holds it: opened once, and only appended to.
    const console_ = openSync(consoleFile(folder), "a");
    const keeping = keepConsolesShort(
      "runc",
      () => [join(folder, "none"), folder],
      pino({ level: "silent" }),
      end.signal,
    );
    try {
      let cuts = 0;
      let before = 0;
      while (cuts < 2) {
        const { size } = statSync(consoleFile(folder));
        if (size < before) cuts++;
        before = size;
        // Up to the bound and a little more, then the next look is awaited.
        if (size <= CONSOLE_BYTES_MAX) before += writeSync(console_, PIECE);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(statSync(consoleFile(folder)).size).toBeLessThanOrEqual(CONSOLE_BYTES_MAX + 2 * PIECE.length);
    } finally {
      end.abort();
      await keeping;
      closeSync(console_);
      rmSync(folder, { recursive: true });
    }
  },
  30_000,
);
