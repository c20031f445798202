/** Certificates ordered from a real ACME server (pebble), validated against the edge's answers out of rows. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import * as acme from "acme-client";
import { AcmeAnswerRow, keyOf } from "../../control/contract/rows.ts";
import { sealPrivateKey } from "../../control/contract/sealing.ts";
import { closedPort, RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";
import { makeCertificate } from "./make-certificate.ts";
import { ask, newSealing, type Sealing, secureApp, secureClient } from "./tls.fixture.ts";

const pebble = Bun.which("pebble"), resolver = Bun.which("pebble-challtestsrv");
const reason = pebble === null || resolver === null ? " (skipped: pebble is not installed)" : "";

let t: TestEdge;
let sealing: Sealing;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  sealing = await newSealing();
  t = await startTestEdge({ tls: { sealing_key_file: sealing.file } });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => new Response(new URL(request.url).pathname),
  });
  await secureApp(t, "shop", server.port!, { force_https: false });
}, 30_000);
afterAll(async () => {
  await t.stop();
  await server.stop(true);
  rmSync(sealing.folder, { recursive: true });
});

const get = async (path: string, host = "shop.test", port = t.port, method = "GET") => {
  const raw = await RawClient.open(port);
  raw.send(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const text = await raw.end();
  raw.close();
  return text;
};

const token = "t".repeat(43);
const answer = { type: "http-01", host: "shop.test", token, key_authorization: `${token}.${"x".repeat(43)}` };

describe("http-01", () => {
  const path = `/.well-known/acme-challenge/${token}`;

  test("the edge answers what a row answers, and leaves the rest to the app", async () => {
    expect(await get(path)).toEndWith(`\r\n\r\n${path}`);
    await t.publish("acme_answers", `http-01/${token}`, answer);
    await t.settled();
    const text = await get(path);
    expect(text).toStartWith("HTTP/1.1 200");
    expect(text).toEndWith(`\r\n\r\n${answer.key_authorization}`);
    expect(await get(`${path}?x=1`)).toEndWith(`\r\n\r\n${answer.key_authorization}`);
    expect(await get(path, "SHOP.test:80")).toEndWith(answer.key_authorization);
    for (const other of [`${path}x`, `${path}/x`, "/.well-known/acme-challenge/", "/other"]) {
      expect(await get(other)).toEndWith(`\r\n\r\n${other}`);
    }
    expect(await get(path, "shop.test", t.port, "POST")).toEndWith(`\r\n\r\n${path}`);
  });

  test("an answer is its own host's", async () => {
    await secureApp(t, "other", server.port!);
    expect(await get(path, "other.test")).toEndWith(`\r\n\r\n${path}`);
    expect(await get(path, "nobody.test")).toStartWith("HTTP/1.1 404");
  });

  test("a row that is gone answers no more", async () => {
    await t.publish("acme_answers", `http-01/${token}`, null);
    await t.settled();
    expect(t.edge.tls.acme.size).toBe(0);
    expect(await get(path)).toEndWith(`\r\n\r\n${path}`);
  });
});

describe("tls-alpn-01", () => {
  test("names without a row refuse acme-tls/1, and with one they show its certificate alone", async () => {
    const shake = () =>
      secureClient(t.tlsPort, { servername: "shop.test", ALPNProtocols: ["acme-tls/1"] }).then((socket) => {
        const shown = new X509Certificate(socket.getPeerCertificate().raw);
        socket.destroy();
        return [shown.subjectAltName, socket.alpnProtocol];
      }, (error) => String(error.message));
    expect(await shake()).toContain("ALERT");
    const row = { type: "tls-alpn-01", host: "shop.test", key_authorization: answer.key_authorization };
    await t.publish("acme_answers", "tls-alpn-01/shop.test", row);
    await t.settled();
    expect(await shake()).toEqual(["DNS:shop.test", "acme-tls/1"]);
    const visitor = await secureClient(t.tlsPort, { servername: "shop.test", ALPNProtocols: ["http/1.1"] });
    expect(visitor.getPeerCertificate().subject.CN).toBe("godwit.invalid");
    visitor.destroy();
    await t.publish("acme_answers", "tls-alpn-01/shop.test", null);
    await t.settled();
    expect(await shake()).toContain("ALERT");
  });
});

describe.skipIf(reason !== "")(`an order at pebble${reason}`, () => {
  let folder: string;
  let directory: string;
  let management: string;
  const children: Bun.Subprocess[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "godwit-pebble-"));
    const own = makeCertificate({
      names: ["localhost"],
      notBeforeMs: Date.now() - 60_000,
      notAfterMs: Date.now() + 86_400_000,
    });
    writeFileSync(join(folder, "own.crt"), own.chain);
    writeFileSync(join(folder, "own.key"), own.key);
    const [api, admin, dns, dnsAdmin] = await Promise.all([1, 2, 3, 4].map(() => closedPort()));
    const config = {
      pebble: {
        listenAddress: `127.0.0.1:${api}`,
        managementListenAddress: `127.0.0.1:${admin}`,
        certificate: join(folder, "own.crt"),
        privateKey: join(folder, "own.key"),
        httpPort: t.port,
        tlsPort: t.tlsPort,
        ocspResponderURL: "",
        externalAccountBindingRequired: false,
      },
    };
    writeFileSync(join(folder, "pebble.json"), JSON.stringify(config));
    const spawn = (argv: string[]) =>
      children.push(Bun.spawn(argv, {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "ignore",
        env: { PATH: process.env.PATH, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" },
      }));
    spawn([
      resolver!,
      ...["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1"],
      ...["-dns01", `127.0.0.1:${dns}`, "-management", `127.0.0.1:${dnsAdmin}`],
    ]);
    spawn([pebble!, "-config", join(folder, "pebble.json"), "-dnsserver", `127.0.0.1:${dns}`]);
    directory = `https://127.0.0.1:${api}/dir`;
    management = `https://127.0.0.1:${admin}`;
    // pebble's own certificate is one that we made a moment ago.
    acme.axios.defaults.httpsAgent = new Agent({ rejectUnauthorized: false });
    await until(() =>
      fetch(directory, { tls: { rejectUnauthorized: false } }).then((r) => r.ok, () => false)
    );
  }, 30_000);
  afterAll(async () => {
    for (const child of children) child.kill();
    await Promise.all(children.map((child) => child.exited));
    rmSync(folder, { recursive: true });
  });

  for (const type of ["http-01", "tls-alpn-01"] as const) {
    test(`is validated by ${type}, and its certificate is trusted by a client of pebble's`, async () => {
      const host = `${type}.test`;
      await secureApp(t, type, server.port!);
      const client = new acme.Client({
        directoryUrl: directory,
        accountKey: await acme.crypto.createPrivateEcdsaKey(),
      });
      const [key, csr] = await acme.crypto.createCsr(
        { altNames: [host] },
        await acme.crypto.createPrivateEcdsaKey(),
      );
      let answered = 0;
      const chain = await client.auto({
        csr,
        termsOfServiceAgreed: true,
        skipChallengeVerification: true,
        challengePriority: [type],
        async challengeCreateFn(_authorization, challenge, keyAuthorization) {
          expect<string>(challenge.type).toBe(type);
          const row = AcmeAnswerRow.parse({
            type,
            host,
            key_authorization: keyAuthorization,
            ...(type === "http-01" ? { token: challenge.token } : {}),
          });
          await t.publish("acme_answers", keyOf("acme_answers", row), row);
          await t.settled();
          answered++;
        },
        async challengeRemoveFn(_authorization, challenge) {
          const key = type === "http-01" ? `http-01/${challenge.token}` : `tls-alpn-01/${host}`;
          await t.publish("acme_answers", key, null);
        },
      });
      expect(answered).toBe(1);
      await t.publish("certificates", `${host}/acme`, {
        name: host,
        source: "acme",
        chain,
        sealed_key: await sealPrivateKey(key.toString(), sealing.seal),
        not_after_ms: Date.parse(new X509Certificate(chain).validTo),
      });
      await t.settled();
      const ca = await (await fetch(`${management}/roots/0`, { tls: { rejectUnauthorized: false } })).text();
      const socket = await secureClient(t.tlsPort, { servername: host, ca, rejectUnauthorized: true });
      expect(socket.authorized).toBe(true);
      expect(await ask(socket, host, "/hello")).toEndWith("/hello");
      socket.destroy();
    }, 30_000);
  }
});
