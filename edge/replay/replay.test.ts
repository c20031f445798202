/** fly-replay between real apps in two regions of a real edge. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import http2 from "node:http2";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import {
  closedPort,
  HOST_ID,
  idOf,
  RawClient,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";

let t: TestEdge;
const servers: Bun.Server<unknown>[] = [];
const id = (name: string) => idOf(name, 14);

/** What each machine was asked, in order. */
let asked: { machine: string; headers: Record<string, string>; body: string; path: string }[] = [];
/** What a machine answers; by its name. Others say who they are. */
let answers: Record<string, (request: Request) => Response> = {};

function machine(name: string): number {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    maxRequestBodySize: 10_000_000,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      const body = await request.text();
      asked.push({ machine: name, headers: Object.fromEntries(request.headers), body, path: pathname });
      return answers[name]?.(request) ?? new Response(`${name} ${body.length}`);
    },
  });
  servers.push(server);
  return server.port!;
}
const replay = (value: string, body = "not for you") => () =>
  new Response(body, { status: 409, headers: { "fly-replay": value } });
const replayJson = (value: unknown) => () =>
  new Response(typeof value === "string" ? value : JSON.stringify(value), {
    headers: { "content-type": "application/vnd.fly.replay+json" },
  });

async function otherOrg(name: string, port: number): Promise<void> {
  await t.publish("apps", idOf(name), {
    id: idOf(name),
    name,
    org_id: idOf("another"),
    org_slug: "another",
    services: [],
  });
  await t.machine(name, port, { id: id(name) });
}

beforeAll(async () => {
  t = await startTestEdge({ regions: ["ams", "fra"], holdWaitMsMax: 1_000, listener: { h2c: true } });
  await t.app("front", machine("front"), { id: id("front") });
  await t.machine("front", machine("twin"), { id: id("twin"), region: "fra" });
  await t.app("back", machine("back"), { id: id("back") });
  await t.machine("back", machine("far"), { id: id("far"), region: "fra" });
  await t.app("dead", await closedPort(), { id: id("dead") });
  await t.app("resting", 1, { id: id("rest"), state: "stopped" });
  await t.app("waking", 1, { id: id("wake"), state: "starting" });
  await otherOrg("stranger", machine("stranger"));
  await t.settled();
  const size = (host: string) => t.edge.routes.find(host)?.services.get(80)?.size;
  await until(() => size("front.test") === 2 && size("back.test") === 2);
  await until(() => t.edge.routes.appNamed("stranger") !== null);
});
afterAll(async () => {
  await t.stop();
  for (const server of servers) await server.stop(true);
});
beforeEach(() => {
  asked = [];
  answers = {};
});

const get = (init: RequestInit = {}, path = "/") =>
  fetch(`http://127.0.0.1:${t.port}${path}`, { ...init, headers: { host: "front.test", ...init.headers } });
async function answer(init: RequestInit = {}): Promise<string> {
  const response = await get(init);
  expect(response.status).toBe(200);
  expect(response.headers.get("fly-replay")).toBeNull();
  return await response.text();
}
const machines = () => asked.map((each) => each.machine);
const refused = async (init: RequestInit = {}) => {
  const response = await get({ ...init, headers: { accept: "application/json", ...init.headers } });
  const body = await response.json() as { error: { code: string } };
  return [response.status, body.error.code, response.headers.get("fly-error-code")];
};

describe("targets", () => {
  test("an app, a region, a machine, any other machine", async () => {
    const cases: Record<string, string> = {
      "app=back": "back",
      "app=back;region=fra": "far",
      'app=back;region="syd,fra"': "far",
      "app=back;region=eu": "back",
      [`app=back;instance=${id("far")}`]: "far",
      [`app=back;prefer_instance=${id("far")}`]: "far",
      "region=fra": "twin",
      "elsewhere=true": "twin",
      [`instance=${id("twin")}`]: "twin",
    };
    for (const [value, target] of Object.entries(cases)) {
      asked = [];
      answers = { front: replay(value) };
      expect(await answer(), value).toBe(`${target} 0`);
      expect(machines(), value).toEqual(["front", target]);
    }
  });

  test("the same as JSON, in whatever framing it comes", async () => {
    answers = { front: replayJson({ app: "back", region: ["fra"], state: "s", transform: { path: "/" } }) };
    expect(await answer()).toBe("far 0");
    expect(asked[1]!.headers["fly-replay-src"]).toEndWith(";state=s");
    const chunks = ['{"app":', '"back"', "}"];
    answers = {
      front: () =>
        new Response(
          new ReadableStream({ pull: (c) => chunks.length > 0 ? c.enqueue(chunks.shift()) : c.close() }),
          {
            headers: { "content-type": "Application/Vnd.Fly.Replay+json; charset=utf-8" },
          },
        ),
    };
    expect(await answer()).toBe("back 0");
  });

  test("the target learns who sent it, in which state, and nothing that a client claims about it", async () => {
    answers = { front: replay('app=back;state="a;b"') };
    const before = Date.now() * 1_000 - 1_000_000;
    await answer({ headers: { "fly-replay-src": "instance=forged", "fly-replay-failed": "forged" } });
    const { headers } = asked[1]!;
    const [, instance, region, at, state] = /^instance=([0-9a-f]{14});region=([a-z]{3});t=(\d+);state=(.*)$/
      .exec(headers["fly-replay-src"]!)!;
    expect([instance, region, state]).toEqual([id("front"), "ams", "a;b"]);
    expect(Number(at)).toBeGreaterThan(before);
    expect(headers["fly-replay-failed"]).toBeUndefined();
    expect(asked[0]!.headers["fly-replay-src"]).toBeUndefined();
    expect(headers.host).toBe("front.test");
    expect(headers["fly-request-id"]).toBe(asked[0]!.headers["fly-request-id"]!);
  });

  test("a preferred machine that cannot take it is named to the one that does", async () => {
    answers = { front: replay(`app=back;prefer_instance=${id("nobody")}`) };
    expect(await answer()).toBe("back 0");
    expect(asked[1]!.headers["fly-preferred-instance-unavailable"]).toBe(id("nobody"));
  });

  test("a starting machine is waited for", async () => {
    answers = { front: replay("app=waking") };
    const waiting = answer();
    await until(() => t.edge.routes.appNamed("waking")!.waiting === 1);
    await t.machine("waking", machine("woken"), { id: id("wake"), started_at_ms: Date.now() });
    expect(await waiting).toBe("woken 0");
    await t.publish("machines", `${HOST_ID}/${id("wake")}`, null);
    await t.machine("waking", 1, { id: id("wake2"), state: "starting" });
    await t.settled();
  });
});

describe("bodies", () => {
  test("a body of up to 1 MB goes to the target as well, with a length or in chunks", async () => {
    answers = { front: replay("app=back") };
    for (const size of [1, 1_000, 300_000, 1_048_576]) {
      asked = [];
      const body = Buffer.alloc(size, "abcdefghij");
      expect(await answer({ method: "POST", body })).toBe(`back ${size}`);
      const [first, second] = asked;
      expect(createHash("sha256").update(second!.body).digest("hex")).toBe(
        createHash("sha256").update(first!.body).digest("hex"),
      );
    }
    asked = [];
    const pieces = ["one", "two".repeat(1_000), "three"];
    const body = new ReadableStream({
      pull: (c) => pieces.length > 0 ? c.enqueue(pieces.shift()) : c.close(),
    });
    await answer({ method: "PUT", body, duplex: "half" } as RequestInit);
    expect(asked[1]!.body).toBe(`one${"two".repeat(1_000)}three`);
    expect(t.edge.replays.bodies.bytes).toBe(0);
  });

  test("a replay that is asked for while the body still comes goes on with the rest of it", async () => {
    const early = await earlyReplayer();
    await t.app("early", early.port!, { id: id("early") });
    const client = await RawClient.open(t.port);
    client.send("POST /x HTTP/1.1\r\nHost: early.test\r\nContent-Length: 10\r\n\r\nhello");
    await until(() => early.replayed());
    client.send("world");
    await client.has("back 10");
    expect(asked.at(-1)!.body).toBe("helloworld");
    client.close();
    early.stop();
  });

  test("a body that is larger cannot be replayed, and reaches a machine that answers itself", async () => {
    const body = Buffer.alloc(1_048_577, "x");
    expect(await answer({ method: "POST", body })).toBe(`front ${body.length}`);
    answers = { front: replay("app=back") };
    expect(await refused({ method: "POST", body })).toEqual([413, "edge.replay_body_too_large", "PA01"]);
    expect(t.edge.replays.bodies.bytes).toBe(0);
  });
});

describe("limits", () => {
  test("machines that replay to each other are stopped after ten times", async () => {
    answers = { front: replay("app=back;region=ams"), back: replay("app=front;region=ams") };
    expect(await refused()).toEqual([502, "edge.replayed_too_often", "PA02"]);
    expect(asked.length).toBe(11);
  });

  test("an instruction that cannot be followed is told as the app's mistake", async () => {
    for (const value of ["regoin=ord", "state=x", 'app="back']) {
      answers = { front: replay(value) };
      const response = await get();
      expect([response.status, response.headers.get("fly-error-code")], value).toEqual([502, "PA03"]);
      expect(response.headers.get("godwit-replay-error")).toBeTruthy();
    }
    for (
      const value of ["{}", "nonsense", JSON.stringify({ app: "back", state: "\u2603" }), "x".repeat(20_000)]
    ) {
      answers = { front: replayJson(value) };
      expect(await refused(), value.slice(0, 30)).toEqual([502, "edge.replay_invalid", "PA03"]);
    }
    const twice = new Headers({ "fly-replay": "app=back" });
    twice.append("fly-replay", "region=fra");
    answers = { front: () => new Response("", { headers: twice }) };
    expect(await refused()).toEqual([502, "edge.replay_invalid", "PA03"]);
    // The connection goes on.
    answers = {};
    expect(await answer()).toBe("front 0");
  });

  test("another organisation's app is as good as none", async () => {
    for (const app of ["stranger", "nobody"]) {
      answers = { front: replay(`app=${app}`) };
      expect(await refused()).toEqual([502, "edge.replay_app_unknown", "PA04"]);
    }
    answers = { front: replay(`instance=${id("stranger")}`) };
    expect(await refused()).toEqual([503, "edge.replay_target_unavailable", "PA05"]);
    expect(machines()).not.toContain("stranger");
  });

  test("a target that is not there, or nobody can reach, is told", async () => {
    const cases: Record<string, [number, string]> = {
      [`app=back;instance=${id("nobody")}`]: [503, "edge.replay_target_unavailable"],
      "app=back;region=syd": [503, "edge.replay_target_unavailable"],
      "app=resting": [503, "edge.replay_target_unavailable"],
      "app=dead": [502, "edge.machine_refused"],
      "app=waking;timeout=50ms": [504, "edge.replay_timed_out"],
    };
    for (const [value, expected] of Object.entries(cases)) {
      answers = { front: replay(value) };
      expect((await refused()).slice(0, 2), value).toEqual(expected);
    }
  });
});

describe("fallback", () => {
  test("the machine that asked answers itself where the target cannot be reached, and is told why", async () => {
    const cases: Record<string, string> = {
      [`app=back;instance=${id("nobody")}`]: `instance=${id("nobody")};app=back;region=;`,
      'app=back;region="syd,iad"': `instance=;app=back;region="syd,iad";`,
      "app=dead": "instance=;app=dead;region=;",
      "app=waking;timeout=50ms": "instance=;app=waking;region=;",
    };
    const reasons = ["no_candidate", "no_candidate", "retries_exhausted", "timeout"];
    for (const fallback of ["force_self", "prefer_self"]) {
      for (const [i, [value, target]] of Object.entries(cases).entries()) {
        asked = [];
        answers = {
          front: (request) =>
            request.headers.has("fly-replay-failed")
              ? new Response("fell back")
              : replay(`${value};fallback=${fallback}`)(),
        };
        expect(await answer({ method: "POST", body: "body" }), value).toBe("fell back");
        expect(machines()).toEqual(["front", "front"]);
        const { headers, body } = asked[1]!;
        expect(headers["fly-replay-failed"]).toMatch(
          new RegExp(`^${target}replay_source=${id("front")};reason=${reasons[i]};elapsed_ms=\\d+$`),
        );
        expect([body, headers["fly-replay-src"]]).toEqual(["body", undefined as never]);
      }
    }
  });

  test("a machine that asks again in answer to a fallback is not followed, and its response goes out", async () => {
    answers = { front: replay("app=dead;fallback=force_self", "mine") };
    const response = await get();
    expect([response.status, await response.text(), response.headers.get("fly-replay")]).toEqual([
      409,
      "mine",
      null,
    ]);
    expect(machines()).toEqual(["front", "front"]);
  });

  test("an error of a target that was reached is its answer", async () => {
    answers = {
      front: replay("app=back;fallback=force_self"),
      back: () => new Response("broken", { status: 500 }),
    };
    const response = await get();
    expect([response.status, await response.text()]).toEqual([500, "broken"]);
    expect(machines()).toEqual(["front", "back"]);
  });
});

test("a request for a WebSocket is replayed before anybody has switched", async () => {
  const chat = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, server) => server.upgrade(request) ? undefined : new Response("no", { status: 400 }),
    websocket: { message: (socket, message) => void socket.send(`chat ${message}`) },
  });
  servers.push(chat);
  await t.app("chat", chat.port!, { id: id("chat") });
  answers = { front: replay("app=chat") };
  const socket = new WebSocket(`ws://127.0.0.1:${t.port}/`, { headers: { host: "front.test" } } as never);
  const said = await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("hello");
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = reject;
  });
  expect(said).toBe("chat hello");
  socket.close();
});

test("a replay between HTTP/2 on both sides takes the body along", async () => {
  const bodies: [string, number][] = [];
  const h2 = (name: string, status: number, fields: Record<string, string>) => {
    const server = http2.createServer();
    server.on("stream", (stream: http2.ServerHttp2Stream) => {
      let size = 0;
      stream.on("data", (bytes: Buffer) => size += bytes.length);
      stream.on("end", () => {
        bodies.push([name, size]);
        stream.respond({ ":status": status, ...fields });
        stream.end(name);
      });
      stream.on("error", () => {});
    });
    return new Promise<{ port: number; stop(): void }>((resolve) =>
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        const port = typeof address === "object" ? address!.port : 0;
        resolve({ port, stop: () => server.close() });
      })
    );
  };
  const [asks, answers] = [
    await h2("asks", 200, { "fly-replay": "app=answers" }),
    await h2("answers", 200, {}),
  ];
  for (const [name, { port }] of Object.entries({ asks, answers })) {
    await t.app(name, port, {
      id: id(name),
      services: [{
        protocol: "tcp",
        internal_port: port,
        ports: [{ port: 80, handlers: ["http"], force_https: false, http_options: { h2_backend: true } }],
        concurrency: { type: "requests", soft_limit: 20, hard_limit: null },
      }],
    });
  }
  const client = http2.connect(`http://127.0.0.1:${t.port}`);
  for (const size of [10, 300_000]) {
    const stream = client.request({ ":method": "POST", ":path": "/", ":authority": "asks.test" });
    stream.end(Buffer.alloc(size, "z"));
    let text = "";
    stream.on("data", (bytes: Buffer) => text += bytes.toString());
    await new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
    expect(text).toBe("answers");
    expect(bodies.splice(0)).toEqual([["asks", size], ["answers", size]]);
  }
  client.close();
  asks.stop();
  answers.stop();
});

test("replays are counted, logged, and leave nothing behind", async () => {
  answers = { front: replay("app=back") };
  await answer({ headers: { "user-agent": "counted" } });
  const page = readExposition(await (await fetch(`http://127.0.0.1:${t.adminPort}/metrics`)).text());
  expect(valueOf(page, "godwit_edge_replays_count")).toBeGreaterThan(20);
  expect(valueOf(page, "godwit_edge_replays_fallback_count")).toBeGreaterThan(8);
  expect(valueOf(page, "godwit_edge_replays_disregarded_count")).toBe(1);
  expect(valueOf(page, "godwit_edge_replay_fields_ignored_count")).toBe(1);
  expect(valueOf(page, "godwit_edge_replay_body_bytes")).toBe(0);
  const lines = async () =>
    (await Bun.file(t.logFile).text()).split("\n").filter((line) => line.includes("counted"));
  await until(async () => (await lines()).length > 0);
  expect(JSON.parse((await lines())[0]!)).toMatchObject({
    app: "back",
    machine: id("back"),
    replays: 1,
    attempts: 2,
  });
  for (const name of ["front", "back", "dead", "chat"]) {
    const service = t.edge.routes.appNamed(name)!.services.get(80)!;
    await until(() => [...service.backends()].every(({ inFlight }) => inFlight === 0));
  }
});

/** Asks for a replay as soon as it has seen part of a body. */
async function earlyReplayer() {
  const { createServer } = await import("node:net");
  let replayed = false;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      if (!bytes.toString("latin1").includes("hello")) return;
      replayed = true;
      socket.write("HTTP/1.1 200 OK\r\nfly-replay: app=back;region=ams\r\nContent-Length: 0\r\n\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" ? address?.port : 0,
    replayed: () => replayed,
    stop: () => server.close(),
  };
}
