import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { COLLECT_AGE_MS_MIN } from "./collect.ts";
import { failureOf, openTestStore, type TestStore, withMounted } from "./image-test.fixture.ts";
import { OciLayout, writeImage } from "./oci-layout.fixture.ts";

// Everything here runs real tools, on a machine that may be busy.
setDefaultTimeout(60_000);

let t: TestStore;
let layout: string;
beforeEach(async () => {
  t = await openTestStore();
  layout = join(t.folder, "layout");
});
afterEach(() => t.remove());

const hello = [[{ name: "hello.txt", content: "hello" }]];

test("ensure() makes a base from a layout and answers digest and config", async () => {
  const config = {
    Entrypoint: ["/a"],
    Cmd: ["b"],
    Env: ["X=1"],
    WorkingDir: "/w",
    User: "7:8",
    StopSignal: "SIGQUIT",
  };
  const { digest } = await writeImage(layout, "v1", { layers: hello, config });
  const lines: string[] = [];
  const ref = `oci:${layout}:v1`;
  expect(t.store.progress(ref)).toBeNull();
  const answer = await t.store.ensure(ref, (line) => {
    lines.push(line);
    expect(t.store.progress(ref)).toBe(line);
  });
  expect(t.store.progress(ref)).toBeNull();
  expect(answer).toMatchObject({
    ref: `oci:${layout}:v1`,
    digest,
    config: {
      entrypoint: ["/a"],
      cmd: ["b"],
      env: ["X=1"],
      working_dir: "/w",
      user: "7:8",
      stop_signal: "SIGQUIT",
    },
  });
  expect(lines.length).toBe(4);
  const found = t.store.find(digest);
  expect(found?.config).toEqual(answer.config);
  expect(await withMounted(found!.file, (root) => Bun.file(join(root, "hello.txt")).text())).toBe("hello");
  expect(t.leftovers()).toEqual([]);
});

test.each(["none", "gzip", "zstd"] as const)(
  "ensure() unpacks layers packed with %s",
  async (compression) => {
    const { digest } = await writeImage(layout, "v1", { layers: hello, compression });
    await t.store.ensure(`oci:${layout}:v1`);
    const text = await withMounted(
      t.store.find(digest)!.file,
      (root) => Bun.file(join(root, "hello.txt")).text(),
    );
    expect(text).toBe("hello");
  },
);

test("ensure() pulls once for many callers, whatever the reference", async () => {
  const oci = await OciLayout.create(layout);
  const image = await oci.add({ layers: hello });
  await oci.tag("a", image);
  await oci.tag("b", image);
  let fetches = 0;
  const count = (line: string) => fetches += line.startsWith("fetching") ? 1 : 0;
  const refs = Array.from({ length: 20 }, (_, i) => `oci:${layout}:${i % 2 === 0 ? "a" : "b"}`);
  const answers = await Promise.all(refs.map((ref) => t.store.ensure(ref, count)));
  expect(fetches).toBe(1);
  expect(new Set(answers.map((a) => a.digest))).toEqual(new Set([image.digest]));
  expect(t.bases().length).toBe(1);
});

test("ensure() tries again after a failed pull", async () => {
  const oci = await OciLayout.create(layout);
  const image = await oci.add({ layers: hello });
  await oci.tag("v1", image);
  const small = await t.reopen({ files_max: 0 });
  expect((await failureOf(small.ensure(`oci:${layout}:v1`))).code).toBe("image.too_many_files");
  expect((await t.store.ensure(`oci:${layout}:v1`)).digest).toBe(image.digest);
});

test("ensure() chooses this host's platform from an index", async () => {
  const oci = await OciLayout.create(layout);
  const other = await oci.add({ layers: hello, architecture: "s390x" });
  const mine = await oci.add({ layers: [[{ name: "mine", content: "" }]] });
  await oci.tag("v1", await oci.addIndex([other, mine]));
  expect((await t.store.ensure(`oci:${layout}:v1`)).digest).toBe(mine.digest);
});

test.each([false, true])("ensure() says which platforms an image has (index: %p)", async (withIndex) => {
  const oci = await OciLayout.create(layout);
  const image = await oci.add({ layers: hello, architecture: "s390x" });
  await oci.tag("v1", withIndex ? await oci.addIndex([image]) : image);
  const error = await failureOf(t.store.ensure(`oci:${layout}:v1`));
  expect(error.code).toBe("image.wrong_architecture");
  expect(error.message).toContain("the image has linux/s390x");
  expect(t.leftovers()).toEqual([]);
});

test("find() knows an image again after a restart", async () => {
  const { digest } = await writeImage(layout, "v1", { layers: hello });
  await t.store.ensure(`oci:${layout}:v1`);
  expect((await t.reopen()).find(digest)?.config).toEqual(t.store.find(digest)!.config);
});

test("find() forgets an image that was removed behind its back, and ensure() brings it again", async () => {
  const { digest } = await writeImage(layout, "v1", { layers: hello });
  await t.store.ensure(`oci:${layout}:v1`);
  rmSync(t.store.find(digest)!.file);
  expect(t.store.find(digest)).toBeNull();
  expect((await t.store.ensure(`oci:${layout}:v1`)).digest).toBe(digest);
  expect(t.store.find(digest)).not.toBeNull();
});

test("openImageStore() removes what a killed agent left half made", async () => {
  const { digest } = await writeImage(layout, "v1", { layers: hello });
  await t.store.ensure(`oci:${layout}:v1`);
  mkdirSync(join(t.folder, "images", "work", "pull-killed"));
  writeFileSync(join(t.folder, "images", "work", "pull-killed", "part"), "x");
  truncateSync(t.store.find(digest)!.file, 100);
  const again = await t.reopen();
  expect(again.find(digest)).toBeNull();
  expect([...t.leftovers(), ...t.bases()]).toEqual([]);
});

test("collect() removes the oldest use first and never what is in use", async () => {
  let now = Date.now();
  const store = await t.reopen({ cache_mb_max: 0, now: () => now });
  const oci = await OciLayout.create(layout);
  const digests: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const image = await oci.add({ layers: [[{ name, content: name }]] });
    await oci.tag(name, image);
    digests.push((await store.ensure(`oci:${layout}:${name}`)).digest);
    now += 1_000;
  }
  const [a = "", b = "", c = ""] = digests;
  expect(await store.collect(new Set())).toEqual([]); // all were asked for a moment ago
  now += COLLECT_AGE_MS_MIN;
  expect(store.find(a)).not.toBeNull();
  now += COLLECT_AGE_MS_MIN;
  expect(await store.collect(new Set([c]))).toEqual([b, a]);
  expect(store.find(b)).toBeNull();
  expect(t.bases()).toEqual([c.slice("sha256:".length)]);
});

test("collect() leaves an image that is asked for while it removes another", async () => {
  let now = Date.now();
  const store = await t.reopen({ cache_mb_max: 0, now: () => now });
  const oci = await OciLayout.create(layout);
  const digests: string[] = [];
  for (const name of ["a", "b"]) {
    await oci.tag(name, await oci.add({ layers: [[{ name, content: name }]] }));
    digests.push((await store.ensure(`oci:${layout}:${name}`)).digest);
    now += 1_000;
  }
  const [a = "", b = ""] = digests;
  now += COLLECT_AGE_MS_MIN;
  const collecting = store.collect(new Set());
  expect(store.find(b)).not.toBeNull();
  expect(await collecting).toEqual([a]);
  expect(store.find(b)).not.toBeNull();
});

test("a pull that its agent was killed in leaves no tool running and nothing behind", async () => {
  // A registry that takes the connection and says nothing keeps skopeo busy.
  let connected: () => void;
  const connection = new Promise<void>((resolve) => connected = resolve);
  let closed: () => void;
  const gone = new Promise<void>((resolve) => closed = resolve);
  const silent = createServer((socket) => {
    socket.on("error", () => {}); // the end of a killed client may be a reset
    socket.on("close", () => closed());
    socket.resume(); // its end is only seen by who reads
    connected();
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  const host = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const options = {
    folder: join(t.folder, "images"),
    runFolder: join(t.folder, "run"),
    auth_file: null,
    insecure_registries: [host],
    cache_mb_max: 1_024,
    image_mb_max: 64,
    files_max: 1_000,
  };
  const script = `import { openImageStore } from ${JSON.stringify(join(import.meta.dir, "image-store.ts"))};
    await (await openImageStore(${JSON.stringify(options)})).ensure("${host}/app:v1");`;
  const agent = Bun.spawn([process.execPath, "-e", script], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "inherit",
  });
  await connection;
  agent.kill("SIGKILL");
  await gone; // skopeo's end closes the connection
  await t.reopen();
  expect(t.leftovers()).toEqual([]);
  silent.close();
});
