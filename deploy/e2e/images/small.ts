/**
 * Small images of Debian's busybox-static, one for each way a process can disappoint (and one that serves): each must end in
 * a state and a message that says exactly what happened.
 */
import { readFileSync } from "node:fs";
import { type FixtureEntry, writeImage } from "../../../control/worker/images/oci-layout.fixture.ts";
import { cachedLayout, keyOf, TAG, type TestImage, testImage } from "./test-image.ts";

const BUSYBOX = "/bin/busybox";
const applets = ["sh", "sleep", "dd", "httpd", "cat", "ls", "id", "ps", "wget", "kill"];

/** Says a line, then exits with status 3. */
export function exitsWith3(): Promise<TestImage> {
  return shellImage("exits-3", "echo leaving with status 3; exit 3");
}

/**
 * Fills more memory than a small guest has in one read, which the kernel's OOM killer ends at once. An app that grows page
 * by page may instead spend minutes reading its own code again under emulation before the kernel gives up on it.
 */
export function eatsMemory(): Promise<TestImage> {
  // Below all of a 256 MB guest's memory, or malloc would refuse it, and there would be no OOM kill.
  return shellImage(
    "eats-memory",
    "echo eating memory; exec dd if=/dev/zero of=/dev/null bs=200M count=1000",
  );
}

/** Ignores every signal that can be ignored: only SIGKILL ends it. */
export function ignoresSignals(): Promise<TestImage> {
  const loop = "while :; do sleep 1; done";
  return shellImage("ignores-signals", `trap '' HUP INT QUIT TERM USR1 USR2; echo deaf to signals; ${loop}`);
}

/** Runs, says so, listens nowhere. Ends on SIGTERM and SIGINT. */
export function withoutPort(): Promise<TestImage> {
  return shellImage("without-port", "echo running without a port; exec sleep 2147483");
}

/** busybox httpd on 8080, as user 1000. `/` is `it serves\n`. */
export function servesFiles(): Promise<TestImage> {
  const www = [{ name: "www/", type: "directory" as const }, {
    name: "www/index.html",
    content: "it serves\n",
  }];
  return busyboxImage("serves-files", {
    Cmd: [BUSYBOX, "httpd", "-f", "-vv", "-p", "8080", "-h", "/www"],
    User: "1000:1000",
    ExposedPorts: { "8080/tcp": {} },
  }, www);
}

function shellImage(name: string, script: string): Promise<TestImage> {
  return busyboxImage(name, { Cmd: ["/bin/sh", "-c", script] }, []);
}

async function busyboxImage(
  name: string,
  config: Record<string, unknown>,
  files: FixtureEntry[],
): Promise<TestImage> {
  const busybox = readFileSync(BUSYBOX);
  const base: FixtureEntry[] = [
    { name: "bin/", type: "directory" },
    { name: "bin/busybox", content: busybox, mode: 0o755 },
    ...applets.map((applet): FixtureEntry => ({
      name: `bin/${applet}`,
      type: "symlink",
      linkname: "busybox",
    })),
    { name: "tmp/", type: "directory", mode: 0o1777 },
    { name: "etc/", type: "directory" },
    { name: "etc/passwd", content: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n" },
    { name: "etc/group", content: "root:x:0:\napp:x:1000:\n" },
  ];
  const key = keyOf(busybox, JSON.stringify([config, base.map((e) => e.name), files]));
  const layers = files.length === 0 ? [base] : [base, files];
  const image = { layers, config: { Env: ["PATH=/bin"], WorkingDir: "/", ...config } };
  const layoutFolder = await cachedLayout(
    name,
    key,
    async (folder) => void await writeImage(folder, TAG, image),
  );
  return testImage(name, layoutFolder);
}
