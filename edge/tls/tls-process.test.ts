/** An edge by itself that ends TLS, as a process, on both runtimes; its certificate is changed under it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../../deploy/servers/child.ts";
import { until } from "../edge.fixture.ts";
import { makeCertificate } from "./make-certificate.ts";
import { ask, certificateRow, newSealing, secureClient, shown } from "./tls.fixture.ts";

const root = resolve(import.meta.dir, "../..");
const main = join(root, "edge/main.ts");
/** Not the script in .bin: signals must reach the edge. */
const deno = [`@deno/${process.platform}-${process.arch}-glibc/deno`, "deno/deno"]
  .map((path) => join(root, "node_modules", path)).find((path) => existsSync(path)) ?? "";
const runtimes = [
  { name: "bun", argv: [process.execPath, main], missing: "" },
  {
    name: "deno",
    argv: [deno, "run", "-A", "--quiet", main],
    missing: deno !== "" ? "" : " (skipped: deno is not installed)",
  },
];

let folder: string;
let upstream: Bun.Server<unknown>;
const children: Bun.Subprocess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "godwit-tls-process-"));
  upstream = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) =>
      new Response(`${request.headers.get("x-forwarded-proto")} ${(await request.text()).length}`),
  });
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await upstream.stop(true);
  rmSync(folder, { recursive: true, force: true });
});

function writeCertificate(name: string): void {
  const nowMs = Date.now();
  const { chain, key } = makeCertificate({
    names: [name],
    notBeforeMs: nowMs - 60_000,
    notAfterMs: nowMs + 3_600_000,
  });
  writeFileSync(join(folder, "edge.crt"), chain);
  writeFileSync(join(folder, "edge.key"), key);
}

for (const { name, argv, missing } of runtimes) {
  describe.skipIf(missing !== "")(`on ${name}${missing}`, () => {
    test(
      "it serves HTTP/1.1 and HTTP/2, resumes sessions, and takes a new certificate on SIGHUP",
      async () => {
        writeCertificate("first.test");
        const port = await freePort();
        const files = ["--cert", join(folder, "edge.crt"), "--key", join(folder, "edge.key")];
        const edge = Bun.spawn([
          ...argv,
          ...[
            "--tls",
            `127.0.0.1:${port}`,
            "--to",
            `127.0.0.1:${upstream.port}`,
            ...files,
            "--access-log",
            "off",
          ],
        ], { stdout: "ignore", stderr: Bun.file(join(folder, `${name}.log`)) });
        children.push(edge);
        const client = (options = {}) => secureClient(port, { servername: "any.test", ...options });
        await until(() => client().then((socket) => (socket.destroy(), true), () => false), 20_000);

        const kept = await client();
        expect(await ask(kept, "any.test")).toEndWith("https 0");
        expect(shown(kept).name).toBe("first.test");
        const session = kept.getSession()!;
        const again = await client({ session });
        expect(again.isSessionReused()).toBe(true);
        again.destroy();

        const size = 3_000_000;
        for (const version of ["1.1", "2"]) {
          const curl = Bun.spawn([
            "curl",
            "-sk",
            version === "2" ? "--http2" : "--http1.1",
            ...[
              "--max-time",
              "20",
              "--data-binary",
              "@-",
              "-w",
              " %{http_version}",
              `https://127.0.0.1:${port}/`,
            ],
          ], { stdin: Buffer.alloc(size, "x"), stdout: "pipe" });
          expect(await new Response(curl.stdout).text()).toBe(`https ${size} ${version}`);
        }

        writeCertificate("second.test");
        edge.kill("SIGHUP");
        await until(async () => {
          const socket = await client();
          const { name } = shown(socket);
          socket.destroy();
          return name === "second.test";
        });
        // A file that cannot be used changes nothing.
        writeFileSync(join(folder, "edge.key"), "none");
        edge.kill("SIGHUP");
        await until(async () => (await Bun.file(join(folder, `${name}.log`)).text()).includes("edge.crt"));
        const after = await client();
        expect(shown(after).name).toBe("second.test");
        after.destroy();
        expect(await ask(kept, "any.test")).toEndWith("https 0");

        edge.kill("SIGTERM");
        expect(await edge.exited).toBe(0);
        kept.destroy();
      },
      60_000,
    );

    test("it shows the certificates of its rows, and answers tls-alpn-01 out of them", async () => {
      const sealing = await newSealing();
      const port = await freePort();
      const config = join(folder, `${name}.json`);
      const key_authorization = `${"t".repeat(43)}.${"x".repeat(43)}`;
      const rows = [
        { table: "certificates", row: await certificateRow("a.test", sealing) },
        { table: "certificates", row: await certificateRow("*.b.test", sealing) },
        { table: "acme_answers", row: { type: "tls-alpn-01", host: "a.test", key_authorization } },
      ];
      writeFileSync(
        config,
        JSON.stringify({
          schema: 1,
          edge_id: "edge",
          region: "loc",
          regions: [],
          listeners: [{ address: "127.0.0.1", port, service_port: 443, tls: true }],
          admin: null,
          rows: { from: "given", rows },
          tls: { sealing_key_file: sealing.file },
          access_log: "off",
        }),
      );
      const edge = Bun.spawn([...argv, "--config", config], {
        stdout: "ignore",
        stderr: Bun.file(join(folder, `${name}-rows.log`)),
      });
      children.push(edge);
      const nameOf = async (servername: string, options = {}) => {
        const socket = await secureClient(port, { servername, ...options });
        const { name } = shown(socket);
        socket.destroy();
        return name;
      };
      await until(() => nameOf("other.test").then((name) => name === "godwit.invalid", () => false), 20_000);
      expect(await nameOf("a.test")).toBe("a.test");
      expect(await nameOf("x.b.test", { maxVersion: "TLSv1.2" })).toBe("*.b.test");
      // Deno's TLS refuses the critical extension that such a certificate must have, in certificates of its own.
      if (name === "deno") console.log("skipped on Deno: tls-alpn-01");
      else await validate(port);
      edge.kill("SIGTERM");
      expect(await edge.exited).toBe(0);
      rmSync(sealing.folder, { recursive: true });
    }, 60_000);
  });
}

async function validate(port: number): Promise<void> {
  const validation = await secureClient(port, { servername: "a.test", ALPNProtocols: ["acme-tls/1"] });
  expect(validation.alpnProtocol).toBe("acme-tls/1");
  expect(validation.getPeerCertificate().raw.includes(Buffer.from("2b0601050507011f", "hex"))).toBe(true);
  validation.destroy();
}
