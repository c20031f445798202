/** One start of Bun, as small as there is: its first statement says when it was reached. Compiled as vm-init is. */
import { readFileSync } from "node:fs";

const [uptimeS] = readFileSync("/proc/uptime", "utf8").split(" ");
console.log(`godwit-bench: bun_started_s=${uptimeS}`);
