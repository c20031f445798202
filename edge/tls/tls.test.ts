/** TLS on a real edge, with node:tls, curl and OpenSSL as clients. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";
import { alertRecord, NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION } from "./alert.ts";
import {
  ask,
  certificateRow,
  newSealing,
  publishCertificate,
  type Sealing,
  secureApp,
  secureClient,
  shown,
} from "./tls.fixture.ts";

/** For tests that start processes, or an edge of their own. */
const SLOW_MS = 30_000;

let t: TestEdge;
let sealing: Sealing;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  sealing = await newSealing();
  t = await startTestEdge({ tls: { sealing_key_file: sealing.file } });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => Response.json(Object.fromEntries(request.headers)),
  });
  for (const name of ["one", "two", "deep.wild", "plain", "picky"]) await secureApp(t, name, server.port!);
  await secureApp(t, "picky", server.port!, {
    tls_options: { versions: ["TLSv1.3"], alpn: ["http/1.1"], default_self_signed: false },
  });
  await secureApp(t, "old", server.port!, { tls_options: { versions: ["TLSv1.2"] } });
  for (const name of ["one.test", "two.test", "*.wild.test", "old.test"]) {
    await publishCertificate(t, name, sealing);
  }
}, SLOW_MS);
afterAll(async () => {
  await t.stop();
  await server.stop(true);
  rmSync(sealing.folder, { recursive: true });
});

const client = (servername: string, options = {}) => secureClient(t.tlsPort, { servername, ...options });

async function certificateOf(servername: string | undefined): Promise<string> {
  const socket = await secureClient(t.tlsPort, servername === undefined ? {} : { servername });
  const { name } = shown(socket);
  socket.destroy();
  return name;
}

async function run(argv: string[], input?: string): Promise<string> {
  const child = Bun.spawn(argv, {
    stdin: input === undefined ? "ignore" : new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return out + err;
}
const curl = (host: string, ...options: string[]) =>
  run([
    "curl",
    "-sk",
    "--max-time",
    "10",
    "--resolve",
    `${host}:${t.tlsPort}:127.0.0.1`,
    `https://${host}:${t.tlsPort}/`,
    ...options,
  ]);
const openssl = (...options: string[]) =>
  run(["openssl", "s_client", "-connect", `127.0.0.1:${t.tlsPort}`, ...options], "");

async function metric(line: string): Promise<string> {
  const page = await (await fetch(`http://127.0.0.1:${t.adminPort}/metrics`)).text();
  return page.split("\n").find((each) => each.startsWith(line)) ?? "";
}

describe("certificates", () => {
  test("the exact name comes first, then the wildcard of one label, then the default", async () => {
    expect(await certificateOf("one.test")).toBe("one.test");
    expect(await certificateOf("TWO.test")).toBe("two.test");
    expect(await certificateOf("deep.wild.test")).toBe("*.wild.test");
    expect(await certificateOf("too.deep.wild.test")).toBe("godwit.invalid");
    expect(await certificateOf("nobody.test")).toBe("godwit.invalid");
    expect(await certificateOf(undefined)).toBe("godwit.invalid");
  }, SLOW_MS);

  test("a service without default_self_signed refuses names that have no certificate", async () => {
    expect(await openssl("-servername", "picky.test", "-tls1_3")).toContain("alert number 112");
    await publishCertificate(t, "picky.test", sealing);
    expect(await certificateOf("picky.test")).toBe("picky.test");
  }, SLOW_MS);

  test("a changed certificate is the next handshake's, and a removed one is gone", async () => {
    const first = await publishCertificate(t, "one.test", sealing, { source: "custom" });
    let socket = await client("one.test");
    expect(shown(socket).notAfterMs).toBe(first.not_after_ms);
    socket.destroy();
    await t.publish("certificates", "one.test/custom", null);
    await t.settled();
    socket = await client("one.test");
    expect(shown(socket).notAfterMs).not.toBe(first.not_after_ms);
    socket.destroy();
  }, SLOW_MS);
});

describe("versions, suites and protocols", () => {
  test("TLS 1.2 and 1.3 are spoken, 1.1 is refused by an alert", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const socket = await client("one.test", { minVersion: version, maxVersion: version });
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
    const refused = await openssl("-servername", "one.test", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0");
    expect(refused).toContain(`alert number ${PROTOCOL_VERSION}`);
  }, SLOW_MS);

  test("a service chooses its versions", async () => {
    expect(await openssl("-servername", "picky.test", "-tls1_2")).toContain(
      `alert number ${PROTOCOL_VERSION}`,
    );
    const socket = await client("old.test");
    expect(socket.getProtocol()).toBe("TLSv1.2");
    socket.destroy();
  }, SLOW_MS);

  test("in TLS 1.2 only suites with ephemeral keys and authenticated encryption are there", async () => {
    const suite = async (
      name: string,
    ) => (await openssl("-servername", "one.test", "-tls1_2", "-cipher", `${name}:@SECLEVEL=0`));
    expect(await suite("ECDHE-ECDSA-AES128-GCM-SHA256")).toContain("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256");
    expect(await suite("ECDHE-ECDSA-CHACHA20-POLY1305")).toContain("Cipher is ECDHE-ECDSA-CHACHA20");
    for (const name of ["ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"]) {
      expect(await suite(name)).toContain("Cipher is (NONE)");
    }
  }, SLOW_MS);

  test("ALPN takes HTTP/2 before HTTP/1.1, and what nobody speaks is an alert", async () => {
    const of = async (...ALPNProtocols: string[]) => {
      const socket = await client("one.test", ALPNProtocols.length === 0 ? {} : { ALPNProtocols });
      const { alpnProtocol } = socket;
      socket.destroy();
      return alpnProtocol;
    };
    expect(await of("http/1.1", "h2")).toBe("h2");
    expect(await of("http/1.1")).toBe("http/1.1");
    expect(await of()).toBe(false);
    expect(await openssl("-servername", "one.test", "-alpn", "mqtt")).toContain(
      `alert number ${NO_APPLICATION_PROTOCOL}`,
    );
    const picky = await client("picky.test", { ALPNProtocols: ["h2", "http/1.1"] });
    expect(picky.alpnProtocol).toBe("http/1.1");
    picky.destroy();
  }, SLOW_MS);

  test("curl asks over HTTP/1.1 and over HTTP/2", async () => {
    for (const [option, version] of [["--http1.1", "1.1"], ["--http2", "2"]] as const) {
      const answer = await curl("one.test", option, "-w", "\n%{http_code} %{http_version}");
      expect(answer).toEndWith(`200 ${version}`);
    }
  }, SLOW_MS);

  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`a ${maxVersion} session is resumed, and counted`, async () => {
      const label = `godwit_edge_tls_resumed_count{version="${maxVersion}"}`;
      const before = Number((await metric(label)).split(" ")[1] ?? 0);
      const first = await client("two.test", { maxVersion });
      let session = first.getSession();
      first.on("session", (ticket) => session = ticket);
      await ask(first, "two.test");
      const second = await client("two.test", { maxVersion, session: session! });
      expect(second.isSessionReused()).toBe(true);
      expect(await ask(second, "two.test")).toStartWith("HTTP/1.1 200");
      expect(Number((await metric(label)).split(" ")[1])).toBe(before + 1);
      first.destroy();
      second.destroy();
    }, SLOW_MS);
  }
});

describe("requests", () => {
  test("the machine is told https, the listener's port, and the client's address", async () => {
    const socket = await client("one.test");
    const text = await ask(socket, "one.test");
    const headers = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4));
    expect(headers).toMatchObject({
      "x-forwarded-proto": "https",
      "x-forwarded-ssl": "on",
      "x-forwarded-port": "443",
      "fly-forwarded-port": "443",
      "fly-client-ip": "127.0.0.1",
    });
    socket.destroy();
  }, SLOW_MS);

  test(
    "another Host than the handshake's is served where a certificate covers it, and 421 where none does",
    async () => {
      const socket = await client("one.test");
      expect(await ask(socket, "two.test")).toStartWith("HTTP/1.1 200");
      const refused = await ask(socket, "plain.test");
      expect(refused).toStartWith("HTTP/1.1 421 Misdirected Request");
      expect(refused).toContain("edge.misdirected");
      expect(await ask(socket, "one.test")).toStartWith("HTTP/1.1 200");
      socket.destroy();
      // The default certificate proves nothing, so there is nothing to be misled about.
      const unproved = await client("plain.test");
      expect(await ask(unproved, "plain.test")).toStartWith("HTTP/1.1 200");
      expect(await ask(unproved, "one.test")).toStartWith("HTTP/1.1 200");
      unproved.destroy();
      expect(await curl("plain.test", "-w", "%{http_code}", "-o", "/dev/null")).toBe("200");
    },
    SLOW_MS,
  );

  test(
    "a keep-alive connection outlives 1,000 changes of its certificate, and new ones see the newest",
    async () => {
      const kept = await client("two.test");
      const first = shown(kept).notAfterMs;
      expect(await ask(kept, "two.test")).toStartWith("HTTP/1.1 200");
      const rows = await Promise.all(Array.from({ length: 20 }, () => certificateRow("two.test", sealing)));
      let changes = 0, asked = 0;
      const enough = () => changes >= 1_000 && asked >= 20;
      const changing = (async () => {
        while (!enough()) await t.publish("certificates", "two.test/acme", rows[changes++ % rows.length]!);
      })();
      while (!enough()) {
        expect(await ask(kept, "two.test")).toStartWith("HTTP/1.1 200");
        const fresh = await client("two.test");
        expect(await ask(fresh, "two.test")).toStartWith("HTTP/1.1 200");
        fresh.destroy();
        asked++;
      }
      await changing;
      await t.settled();
      expect(shown(kept).notAfterMs).toBe(first);
      const last = await client("two.test");
      expect(shown(last).notAfterMs).toBe(rows[(changes - 1) % rows.length]!.not_after_ms);
      last.destroy();
      kept.destroy();
    },
    60_000,
  );

  test("the access log names the handshake's version and name, over HTTP/1.1 and HTTP/2", async () => {
    for (
      const [flag, version, protocol] of [["--http1.1", "1.2", "HTTP/1.1"], ["--http2", "1.3", "HTTP/2"]]
    ) {
      const agent = `version-${version}`;
      const max = ["--tls-max", version!];
      await run([
        "curl",
        "-sk",
        flag!,
        ...max,
        "-A",
        agent,
        "--resolve",
        `one.test:${t.tlsPort}:127.0.0.1`,
        `https://one.test:${t.tlsPort}/`,
      ]);
      const line = () => readFileSync(t.logFile, "utf8").split("\n").find((each) => each.includes(agent));
      await until(() => line() !== undefined);
      expect(JSON.parse(line()!)).toMatchObject({ protocol, tls: `TLSv${version}`, server_name: "one.test" });
    }
  });

  test("a large body goes through whole, both ways", async () => {
    const echo = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => new Response(await request.arrayBuffer()),
    });
    await secureApp(t, "echo", echo.port!);
    const size = 8 * 1_048_576;
    for (const version of ["--http1.1", "--http2"]) {
      const answer = await run([
        "sh",
        "-c",
        `head -c ${size} /dev/zero | curl -sk --max-time 30 ${version} --resolve echo.test:${t.tlsPort}:127.0.0.1 ` +
        `--data-binary @- https://echo.test:${t.tlsPort}/ -o /dev/null -w '%{http_code} %{size_download}'`,
      ]);
      expect(answer).toBe(`200 ${size}`);
    }
    await echo.stop(true);
  }, SLOW_MS);
});

describe("what is no handshake", () => {
  const count = async (code: string) =>
    Number((await metric(`godwit_edge_tls_refused_count{code="${code}"}`)).split(" ")[1] ?? 0);

  test("plain HTTP is told that the port speaks TLS", async () => {
    const raw = await RawClient.open(t.tlsPort);
    raw.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n");
    const text = await raw.end();
    expect(text).toStartWith("HTTP/1.1 400 Bad Request\r\n");
    const body = text.slice(text.indexOf("\r\n\r\n") + 4);
    expect(Number(/Content-Length: (\d+)/.exec(text)![1])).toBe(body.length);
    raw.close();
  }, SLOW_MS);

  test("garbage is answered with an alert and the connection's end", async () => {
    const before = await count("edge.tls_not_spoken");
    for (
      const bytes of [
        "\x00\x01\x02\x03",
        "\x80\x2e\x01\x03\x01",
        "\x16\x09\x00\x00\x05hello",
        "\xff".repeat(5_000),
      ]
    ) {
      const raw = await RawClient.open(t.tlsPort);
      raw.send(bytes);
      await raw.end();
      expect(raw.bytes).toEqual(alertRecord(10));
      raw.close();
    }
    expect(await count("edge.tls_not_spoken")).toBe(before + 4);
  }, SLOW_MS);

  test("a half handshake ends at its time limit: before, within and after the hello", async () => {
    // An edge of its own: on a busy machine whole handshakes could meet so short a limit too.
    const own = await startTestEdge({ tls: {}, handshakeLimits: { waitMsMax: 300 } });
    const recorded = await helloBytes();
    const clients = await Promise.all(
      ["", recorded.slice(0, 50), recorded].map(async (bytes) => {
        const raw = await RawClient.open(own.tlsPort);
        if (bytes !== "") raw.send(bytes);
        return raw;
      }),
    );
    for (const raw of clients) await raw.end();
    await until(() => own.edge.tls.pending === 0);
    const page = await (await fetch(`http://127.0.0.1:${own.adminPort}/metrics`)).text();
    expect(page).toContain('godwit_edge_tls_refused_count{code="edge.tls_timeout"} 3');
    for (const raw of clients) raw.close();
    await own.stop();
  }, SLOW_MS);

  test("a client that breaks off is counted, under the name that it asked for", async () => {
    const label = 'fly_edge_tls_handshake_errors{servername="one.test"}';
    const before = Number((await metric(label)).split(" ")[1] ?? 0);
    await secureClient(t.tlsPort, { servername: "one.test", rejectUnauthorized: true }).catch(() => {});
    const raw = await RawClient.open(t.tlsPort);
    raw.send(await helloBytes());
    await until(() => raw.bytes.length > 0);
    raw.close();
    await until(async () => Number((await metric(label)).split(" ")[1] ?? 0) > before);
  }, SLOW_MS);

  test("a hello byte by byte is read like one at once", async () => {
    const raw = await RawClient.open(t.tlsPort);
    for (const byte of await helloBytes()) {
      raw.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => raw.bytes.length > 100);
    expect(raw.bytes[0]).toBe(22);
    raw.close();
  }, SLOW_MS);

  /** As text of bytes, for "one.test". */
  async function helloBytes(): Promise<string> {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const heard = new Promise<string>((resolve) =>
      listener.reload({
        socket: {
          data(socket, bytes) {
            resolve(bytes.toString("latin1"));
            socket.end();
          },
        },
      })
    );
    secureClient(listener.port, { servername: "one.test" }).catch(() => {});
    const text = await heard;
    listener.stop(true);
    return text;
  }
});

test("handshakes are measured by version", async () => {
  const socket = await client("one.test");
  socket.destroy();
  expect(await metric('fly_edge_tls_handshake_time_seconds_count{version="TLSv1.3"}')).toMatch(/ [1-9]\d*$/);
  expect(await metric("godwit_edge_certificates ")).toMatch(/ [1-9]\d*$/);
}, SLOW_MS);

test(
  "limits: too many handshakes from one range, or for one name, are alerts and cost no signature",
  async () => {
    const own = await startTestEdge({
      tls: { sealing_key_file: sealing.file },
      handshakeLimits: {
        limitLoopback: true,
        perRangeS: 0.001,
        rangeBurst: 5,
        perNameS: 0.001,
        nameBurst: 2,
      },
    });
    const of = (servername: string) =>
      secureClient(own.tlsPort, { servername }).then((socket) => {
        socket.destroy();
        return "ok";
      }, (error) => String(error.code ?? error.message));
    expect([await of("a.test"), await of("a.test"), await of("b.test")]).toEqual(["ok", "ok", "ok"]);
    expect(await of("a.test")).not.toBe("ok");
    expect(await of("b.test")).toBe("ok");
    expect(await of("c.test")).not.toBe("ok");
    const page = await (await fetch(`http://127.0.0.1:${own.adminPort}/metrics`)).text();
    expect(page).toContain('godwit_edge_tls_refused_count{code="edge.tls_name_limited"} 1');
    expect(page).toContain('godwit_edge_tls_refused_count{code="edge.tls_range_limited"} 1');
    await own.stop();
  },
  SLOW_MS,
);

test("limits: handshakes under way are bounded", async () => {
  const own = await startTestEdge({ tls: {}, handshakeLimits: { pendingMax: 2 } });
  const waiting = await Promise.all([RawClient.open(own.tlsPort), RawClient.open(own.tlsPort)]);
  await until(() => own.edge.tls.pending === 2);
  const third = await RawClient.open(own.tlsPort);
  await third.end();
  expect(own.edge.tls.pending).toBe(2);
  for (const raw of waiting) raw.close();
  await until(() => own.edge.tls.pending === 0);
  third.close();
  await own.stop();
}, SLOW_MS);

test("an edge that stops closes handshakes under way at once", async () => {
  const own = await startTestEdge({ tls: {} });
  const raw = await RawClient.open(own.tlsPort);
  await until(() => own.edge.tls.pending === 1);
  const ended = once(raw.socket, "end");
  await own.stop();
  await ended;
  raw.close();
}, SLOW_MS);
