/**
 * Expect: 100-continue lets both sides speak out of order, and so lets them differ in whether a body comes. Each game here
 * ends with the connection in step, or with its end.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient, type RawUpstream, startRawUpstream, until } from "../edge.fixture.ts";
import { type Hostile, post, type RequestCase, runRequestCase, startHostile } from "./hostile.fixture.ts";

let hostile: Hostile;
const upstreams: RawUpstream[] = [];
beforeAll(async () => {
  hostile = await startHostile();
});
afterAll(async () => {
  await Promise.all(upstreams.map((upstream) => upstream.stop()));
  await hostile.stop();
});

let apps = 0;
/** A machine that answers a connection's first head with `early`, its body `abcde` with `late`, and all else with OK. */
async function machine(early: string, late = ""): Promise<{ host: string; upstream: RawUpstream }> {
  const begun = new Set<unknown>();
  const upstream = await startRawUpstream((connection) => {
    const { socket } = connection;
    if (!connection.text.includes("\r\n\r\n")) return;
    if (!connection.text.startsWith("POST /first ")) {
      connection.text = "";
      return void socket.write(OK);
    }
    if (!begun.has(connection)) socket.write(early);
    begun.add(connection);
    if (late === "" || !connection.text.endsWith("abcde")) return;
    connection.text = "";
    socket.write(late);
  });
  upstreams.push(upstream);
  const name = `expect${apps++}`;
  await hostile.edge.app(name, upstream.port);
  return { host: `${name}.test`, upstream };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
const HIDDEN = (host: string) => `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const request = (host: string, length: number) =>
  `POST /first HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
const next = (host: string) => `GET /next HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

describe("Expect", () => {
  test("100 comes before the body, and the next request after the answer", async () => {
    const { host, upstream } = await machine(CONTINUE, OK);
    const client = await RawClient.open(hostile.edge.port);
    client.send(request(host, 5));
    await client.has(CONTINUE);
    expect(upstream.connections[0]!.text).toEndWith("\r\n\r\n");
    client.send("abcde" + next(host));
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 100", "HTTP/1.1 200", "HTTP/1.1 200"]);
    client.close();
  });

  test("a body that does not wait for 100 is a body", async () => {
    const { host, upstream } = await machine(CONTINUE, OK);
    const client = await RawClient.open(hostile.edge.port);
    client.send(`${request(host, 5)}abcde${next(host)}`);
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    expect(upstream.connections.flatMap(({ text }) => text.match(/^GET /gm) ?? []).length).toBe(0);
    client.close();
  });

  for (const status of ["417 Expectation Failed", "401 Unauthorized", "200 OK"]) {
    const early = `HTTP/1.1 ${status}\r\nContent-Length: 3\r\n\r\nend`;

    test(`an answer of ${status} instead of 100 ends both connections: what comes as the body is no request`, async () => {
      const { host, upstream } = await machine(early);
      const client = await RawClient.open(hostile.edge.port);
      client.send(request(host, HIDDEN(host).length));
      expect(await client.has("\r\n\r\nend")).toContain("Connection: close");
      client.send(HIDDEN(host) + next(host));
      expect((await client.end()).match(/HTTP\/1\.1 \d+/g)!.length).toBe(1);
      await until(() => upstream.connections[0]!.closed);
      expect(upstream.connections.map(({ text }) => text).join("")).not.toContain("/smuggled");
      client.close();
    });

    test(`an answer of ${status} while the body is on its way ends both connections`, async () => {
      const { host, upstream } = await machine(early);
      const client = await RawClient.open(hostile.edge.port);
      const body = HIDDEN(host);
      client.send(request(host, body.length + 100) + body);
      expect(await client.end()).toEndWith("\r\n\r\nend");
      await until(() => upstream.connections[0]!.closed);
      const other = await RawClient.open(hostile.edge.port);
      expect(await other.send(next(host)).has("\r\n\r\nok")).toStartWith("HTTP/1.1 200");
      expect(upstream.connections.length).toBe(2);
      other.close();
      client.close();
    });

    test(`100 and then ${status} without reading the body ends both connections`, async () => {
      const { host, upstream } = await machine(CONTINUE + early);
      const client = await RawClient.open(hostile.edge.port);
      client.send(request(host, HIDDEN(host).length));
      expect(await client.end()).toEndWith("\r\n\r\nend");
      await until(() => upstream.connections[0]!.closed);
      expect(hostile.log.filter(({ target }) => target === "/smuggled")).toEqual([]);
      client.close();
    });
  }

  test("100 behind the answer ends the machine's connection and reaches nobody", async () => {
    const { host, upstream } = await machine(CONTINUE, OK + CONTINUE);
    const client = await RawClient.open(hostile.edge.port);
    client.send(`${request(host, 5)}abcde`);
    await client.has("\r\n\r\nok");
    await until(() => upstream.connections[0]!.closed);
    client.send(next(host));
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    expect(client.text.split("100 Continue").length).toBe(2);
    client.close();
  });

  test("100 that nobody asked for is passed on, and keeps the connection in step", async () => {
    const { host } = await machine(CONTINUE, OK);
    const client = await RawClient.open(hostile.edge.port);
    client.send(`POST /first HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\n\r\nabcde${next(host)}`);
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    client.close();
  });

  const refused: RequestCase[] = [
    "Expect: 200-ok",
    "Expect: 100-continue, x",
    "Expect: y 100-continue",
    "Expect: 100-continue\r\nExpect: 100-continue",
    "Expect:",
    "Expect : 100-continue",
    "Expect: 100-continue\0",
    "Expect: 100-\r\n continue",
  ].map((line) => ({
    name: JSON.stringify(line),
    send: post(`${line}\r\nContent-Length: 5\r\n`, "abcde"),
    answers: "refused",
    fools: "nobody",
  }));
  const passed: RequestCase[] = [
    { name: "without a body does not go on", fields: "Expect: 100-continue\r\n", body: "" },
    {
      name: "with the length 0 does not go on",
      fields: "Expect: 100-continue\r\nContent-Length: 0\r\n",
      body: "",
    },
    { name: "in capitals goes on", fields: "EXPECT:\t100-CONTINUE\r\nContent-Length: 5\r\n", body: "abcde" },
    {
      name: "with chunks goes on",
      fields: "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
      body: "5\r\nabcde\r\n0\r\n\r\n",
    },
  ].map(({ name, fields, body }) => ({
    name,
    send: post(fields, body),
    answers: [200],
    forwarded: ["POST /first"],
    fools: "nobody",
  }));
  for (const one of [...refused, ...passed]) {
    test(one.name, () => runRequestCase(hostile, one, false));
    test(`${one.name}, in pieces`, () => runRequestCase(hostile, one, true));
  }
});
