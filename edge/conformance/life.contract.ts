/** Rows that come and go, TLS and HTTP/2 by a client of others, and the end. The last case ends the edge. */
import { expect } from "bun:test";
import { idOf, RawClient, until } from "../edge.fixture.ts";
import type { Case, EdgeProcess } from "./conformance.fixture.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

async function curl(edge: EdgeProcess, ...options: string[]): Promise<string> {
  const child = Bun.spawn([
    ...[
      "curl",
      "--silent",
      "--insecure",
      "--max-time",
      "10",
      "--write-out",
      " %{http_version} %{response_code}",
    ],
    ...["--connect-to", `app.test:443:127.0.0.1:${edge.tlsPort}`, ...options, "https://app.test/"],
  ], { stdout: "pipe", stderr: "ignore", stdin: "ignore" });
  const text = await new Response(child.stdout).text();
  await child.exited;
  return text;
}

function answersFor(edge: EdgeProcess, host: string): Promise<string> {
  return edge.ask(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
}

export const life: Case[] = [
  {
    name: "rows are followed as their file grows, and what is deleted is gone",
    async run(edge) {
      expect(await answersFor(edge, "later.test")).toContain("HTTP/1.1 404");
      await edge.app("later", edge.origin.port);
      expect(await answersFor(edge, "later.test")).toContain("hello");
      edge.write({ table: "hostnames", key: "later.test", deleted: true });
      await until(async () => !await edge.routes("later.test"));
      expect(await answersFor(edge, "later.test")).toContain("HTTP/1.1 404");
    },
  },
  {
    name: "a row that is none is passed over, and those after it count",
    async run(edge) {
      edge.write({ table: "hostnames", row: { hostname: "UPPER CASE", app_id: 7 } });
      edge.write({ table: "hostnames", row: { hostname: "alias.test", app_id: idOf("app0") } });
      await until(() => edge.routes("alias.test"));
      expect(await answersFor(edge, "alias.test")).toContain("hello");
    },
  },
  {
    name: "a connection stays while rows of others change",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      client.send(REQUEST);
      for (let i = 1; i <= 5; i++) {
        await until(() => client.text.split("hello").length - 1 === i);
        await edge.app(`other${i}`, edge.origin.port);
        client.send(REQUEST);
      }
      await until(() => client.text.split("hello").length - 1 === 6);
      client.close();
    },
  },
  {
    name: "curl speaks TLS to it, over HTTP/1.1",
    run: async (edge) => expect(await curl(edge, "--http1.1")).toBe("hello 1.1 200"),
  },
  {
    name: "curl speaks HTTP/2 to it, by ALPN",
    run: async (edge) => expect(await curl(edge, "--http2")).toBe("hello 2 200"),
  },
  {
    name: "ngtcp2's client speaks HTTP/3 to it",
    skip: { deno: "Deno has no HTTP/3 server" },
    async run(edge) {
      if (Bun.which("gtlsclient") === null) {
        return console.log("skipped: gtlsclient is not installed (Debian: ngtcp2-client)");
      }
      const before = edge.origin.seen.length;
      const child = Bun.spawn([
        ...["gtlsclient", "-q", "--exit-on-all-streams-close", "--timeout=5s"],
        ...["127.0.0.1", String(edge.tlsPort), "https://app.test/by-http3"],
      ], { stdout: "ignore", stderr: "ignore" });
      expect(await child.exited).toBe(0);
      const heads = edge.origin.seen.slice(before).map(({ head }) => head.split("\r\n")[0]);
      expect(heads).toEqual(["GET /by-http3 HTTP/1.1"]);
    },
  },
  {
    name: "SIGTERM lets what runs finish, refuses what is new, and ends with 0",
    async run(edge) {
      let answer: () => void = () => {};
      edge.origin.answers.set("/slow", ({ socket }) => {
        answer = () => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
      });
      const idle = await RawClient.open(edge.port);
      await idle.send(REQUEST).has("hello");
      const slow = await RawClient.open(edge.port);
      slow.send("GET /slow HTTP/1.1\r\nHost: app.test\r\n\r\n");
      await until(() => edge.origin.seen.at(-1)?.head.startsWith("GET /slow ") === true);
      edge.child.kill("SIGTERM");
      await idle.end();
      await until(() => RawClient.open(edge.port).then((client) => (client.close(), false), () => true));
      answer();
      const text = await slow.end();
      expect(text).toContain("late");
      expect(text.toLowerCase()).toContain("connection: close");
      expect(await edge.child.exited).toBe(0);
    },
  },
];
