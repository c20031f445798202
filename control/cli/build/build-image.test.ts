import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, newPassword } from "../../../deploy/servers/child.ts";
import { type RegistryServer, startRegistry } from "../../../deploy/servers/registry.ts";
import { GodwitError } from "../../contract/errors.ts";
import { buildImage, type BuildOptions } from "./build-image.ts";

// Everything here runs real tools, on a machine that may be busy.
setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), "godwit-build-"));
const context = join(folder, "context");
const password = newPassword();
let registry: RegistryServer;
let lines: string[] = [];

beforeAll(async () => {
  mkdirSync(context);
  writeFileSync(join(context, "file.txt"), "hello");
  registry = await startRegistry({
    folder: join(folder, "registry"),
    port: await freePort(),
    password,
    logFile: join(folder, "registry.log"),
  });
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
});

function optionsFor(dockerfile: string, more: Partial<BuildOptions> = {}): BuildOptions {
  const file = join(context, "Dockerfile");
  writeFileSync(file, dockerfile);
  lines = [];
  return {
    contextFolder: context,
    dockerfile: file,
    name: "some/app:v1",
    registry: { host: registry.host, authFile: registry.authFile, insecure: true },
    storageFolder: join(folder, "storage"),
    runFolder: join(folder, "run"),
    onLine: (line) => lines.push(line),
    ...more,
  };
}

async function failure(options: BuildOptions): Promise<GodwitError> {
  const error = await buildImage(options).then(() => null, (e) => e);
  expect(error).toBeInstanceOf(GodwitError);
  expectNothingLeft();
  return error;
}

function expectNothingLeft() {
  expect([...readdirSync(join(folder, "storage")), ...readdirSync(join(folder, "run"))]).toEqual([]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(folder);
}

test("buildImage() builds, pushes and answers the digest, and leaves nothing behind", async () => {
  const built = await buildImage(
    optionsFor('FROM scratch\nCOPY file.txt /a/file.txt\nUSER 7:8\nCMD ["/x"]\n'),
  );
  expect(built.ref).toBe(`${registry.host}/some/app@${built.digest}`);
  expect(built.size_bytes).toBeGreaterThan(1_024);
  expect(lines.join("\n")).toContain("COPY file.txt");
  const answer = await fetch(`http://${registry.host}/v2/some/app/manifests/${built.digest}`, {
    headers: {
      authorization: `Basic ${btoa(`godwit:${password}`)}`,
      accept: "application/vnd.oci.image.manifest.v1+json",
    },
  });
  const manifest = await answer.json();
  const sizes = manifest.layers.map((layer: { size: number }) => layer.size);
  expect(built.size_bytes).toBe(sizes.reduce((a: number, b: number) => a + b, manifest.config.size));
  expectNothingLeft();
});

test("buildImage() builds on an image of the same registry", async () => {
  const base = await buildImage(optionsFor("FROM scratch\nCOPY file.txt /one\n"));
  const built = await buildImage(optionsFor(`FROM ${base.ref}\nCOPY file.txt /two\n`));
  expect(built.digest).not.toBe(base.digest);
});

test("buildImage() names a missing Dockerfile and a missing folder", async () => {
  const missing = optionsFor("FROM scratch\n", { dockerfile: join(context, "nosuch") });
  expect((await failure(missing)).code).toBe("build.dockerfile_missing");
  expect((await failure(optionsFor("FROM scratch\n", { contextFolder: join(folder, "no") }))).code).toBe(
    "build.context_missing",
  );
});

test.each([["FROM scratch\nBOGUS x\n", "BOGUS"], ["COPY x y\n", "no FROM"], ["", "no contents"]])(
  "buildImage() says what is wrong in %j",
  async (dockerfile, words) => {
    const error = await failure(optionsFor(dockerfile));
    expect(error.code).toBe("build.syntax");
    expect(error.fault).toBe("client");
    expect(error.message).toContain(words);
    expect(error.message).not.toContain("imagebuilder");
  },
);

test("buildImage() shows the step that failed with its last lines", async () => {
  const copy = await failure(optionsFor("FROM scratch\nCOPY nosuch /x\n"));
  expect(copy.code).toBe("build.step_failed");
  expect(copy.message).toContain('STEP "COPY nosuch /x"');
  copyFileSync("/bin/busybox", join(context, "busybox"));
  const step = 'RUN ["/busybox", "sh", "-c", "echo the reason; exit 7"]';
  const run = await failure(optionsFor(`FROM scratch\nCOPY busybox /\n${step}\n`));
  expect(run.code).toBe("build.step_failed");
  expect(run.message).toContain("exit status 7");
  expect(run.message).toContain("\nthe reason\n");
});

test("buildImage() tells an unreachable base image apart", async () => {
  const error = await failure(optionsFor("FROM 127.0.0.1:1/nosuch:v1\n"));
  expect(error.code).toBe("build.base_unavailable");
  expect(error.message).toContain("127.0.0.1:1/nosuch");
});

test("buildImage() tells wrong credentials and a dead registry apart", async () => {
  const authFile = join(folder, "wrong.json");
  writeFileSync(authFile, JSON.stringify({ auths: { [registry.host]: { auth: btoa("godwit:wrong") } } }));
  const wrong = { host: registry.host, authFile, insecure: true };
  const refused = await failure(optionsFor("FROM scratch\nCOPY file.txt /\n", { registry: wrong }));
  expect(refused.code).toBe("build.push_unauthorized");
  const dead = { host: `127.0.0.1:${await freePort()}`, authFile, insecure: true };
  const unreachable = await failure(optionsFor("FROM scratch\nCOPY file.txt /\n", { registry: dead }));
  expect(unreachable).toMatchObject({ code: "build.push_failed", retryable: true });
});

test("buildImage() says that the disk is full, and leaves nothing on it", async () => {
  const small = join(folder, "small");
  mkdirSync(small);
  writeFileSync(join(context, "large"), new Uint8Array(8 * 1_048_576));
  expect(Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small]).exitCode).toBe(0);
  try {
    const options = optionsFor("FROM scratch\nCOPY large /\n", { storageFolder: small });
    const error = await buildImage(options).then(() => null, (e) => e);
    expect(error).toMatchObject({ code: "build.disk_full", fault: "us", retryable: true });
    expect(readdirSync(small)).toEqual([]);
  } finally {
    expect(Bun.spawnSync(["umount", small]).exitCode).toBe(0);
  }
});

test("buildImage() ends the build when it is aborted", async () => {
  const abort = new AbortController();
  const options = optionsFor('FROM scratch\nCOPY file.txt /\nCMD ["/x"]\n', {
    signal: abort.signal,
    onLine: () => abort.abort(),
  });
  expect((await failure(options)).code).toBe("build.aborted");
});

test("buildImage() dies with its process, and the next build removes what it left", async () => {
  const file = join(context, "Dockerfile.slow");
  const busybox = join(context, "busybox");
  copyFileSync("/bin/busybox", busybox);
  writeFileSync(
    file,
    'FROM scratch\nCOPY busybox /\nRUN ["/busybox", "sh", "-c", "echo it runs; /busybox sleep 1000"]\n',
  );
  const options = { ...optionsFor("FROM scratch\n"), dockerfile: file };
  const script = `import { buildImage } from ${JSON.stringify(join(import.meta.dir, "build-image.ts"))};
    await buildImage({ ...${JSON.stringify(options)}, onLine: console.log });`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  let output = "";
  const decoder = new TextDecoder();
  const reader = child.stdout.getReader();
  while (!output.includes("\nit runs")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the build ended: ${output}`);
    output += decoder.decode(value);
  }
  child.kill("SIGKILL");
  await child.exited;
  // The tools hold the other end: it closes when the last of them is gone.
  while (!(await reader.read()).done);
  expect(readdirSync(join(folder, "storage")).length).toBe(1);
  await buildImage(optionsFor("FROM scratch\nCOPY file.txt /\n"));
  expectNothingLeft();
});
