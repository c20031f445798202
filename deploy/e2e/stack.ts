/** A whole Godwit for a test: its own GODWIT_HOME and ports, started and stopped by the commands a user types. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

export interface UpAnswer {
  readonly app_url: string;
  readonly api_url: string;
  readonly token: string;
  readonly home: string;
  readonly regions: string[];
}

export interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Release {
  readonly rowId: string;
  readonly version: number;
  readonly status: "PENDING" | "RUNNING" | "SUCCEEDED" | "FAILED";
  readonly error: { code: string; fault: string; message: string; hint: string | null } | null;
}

export interface Machine {
  readonly machineId: string;
  readonly state: string;
  readonly reason: string | null;
  readonly lastExit: {
    exitCode: number | null;
    signal: string | null;
    oomKilled: boolean;
    requested: boolean;
  } | null;
}

/** How long a deploy may take here: a pull, a TCG boot, a health gate. */
const DEPLOY_WAIT_MS = 180_000;
const POLL_MS = 200;

export class Stack {
  readonly home: string;
  /** On top of this process's own environment, for every command. */
  env: Record<string, string> = {};
  readonly portBase: number;
  #up: UpAnswer | null = null;

  constructor(home = mkdtempSync(join(tmpdir(), "godwit-e2e-"))) {
    this.home = home;
    // Below 32,768, where Linux begins to give ports to outgoing connections.
    this.portBase = 20_000 + Math.floor(Math.random() * 600) * 20;
  }

  get answer(): UpAnswer {
    if (this.#up === null) throw new Error("the stack is not up");
    return this.#up;
  }

  async up(...more: string[]): Promise<UpAnswer> {
    const run = await this.command(
      "up",
      "--detach",
      "--json",
      "--port-base",
      String(this.portBase),
      ...more,
    );
    if (run.status !== 0) throw new Error(`up failed with ${run.status}\n${run.stderr}\n${run.stdout}`);
    this.#up = JSON.parse(run.stdout.trim().split("\n").at(-1) ?? "") as UpAnswer;
    return this.#up;
  }

  /** Runs `deploy/stack/main.ts` as `bun run` would. */
  async command(...args: string[]): Promise<Run> {
    return await this.#spawn([join(root, "deploy/stack/main.ts"), ...args]);
  }

  async godwit(...args: string[]): Promise<Run> {
    return await this.#spawn([join(root, "control/cli/main.ts"), ...args]);
  }

  async #spawn(args: string[]): Promise<Run> {
    const child = Bun.spawn([process.execPath, ...args], {
      cwd: root,
      env: { ...process.env, GODWIT_HOME: this.home, ...this.env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  async downAndPurge(): Promise<Run | null> {
    if (!existsSync(join(this.home, "home.json"))) {
      rmSync(this.home, { recursive: true, force: true });
      return null;
    }
    return await this.command("down", "--purge", "--yes");
  }

  /** Through the edge, by host name, over loopback. */
  async get(app: string, path = "/", init: RequestInit = {}): Promise<Response> {
    const edge = new URL(this.answer.app_url);
    const headers = new Headers(init.headers);
    headers.set("host", `${app}.localhost:${edge.port}`);
    return await fetch(`http://127.0.0.1:${edge.port}${path}`, { ...init, headers });
  }

  async graphql<T>(
    query: string,
    variables: Record<string, unknown> = {},
    token = this.answer.token,
  ): Promise<T> {
    const answer = await fetch(new URL("/graphql", this.answer.api_url), {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
    });
    const body = await answer.json() as {
      data?: T;
      errors?: { message: string; extensions?: { code?: string } }[];
    };
    if (body.errors !== undefined || body.data === undefined) {
      throw new Error(`${body.errors?.[0]?.extensions?.code}: ${body.errors?.[0]?.message}`);
    }
    return body.data;
  }

  async createApp(name: string): Promise<void> {
    await this.graphql(`mutation ($input: CreateAppInput!) { createApp(input: $input) { app { name } } }`, {
      input: { name },
    });
  }

  /** Deploys and waits for the release's end, whichever it is. */
  async deploy(app: string, image: string, more: Record<string, unknown> = {}): Promise<Release> {
    const started = await this.graphql<{ deployImage: { release: Release } }>(
      `mutation ($input: DeployImageInput!) { deployImage(input: $input) { release { rowId } } }`,
      { input: { app, image, ...more } },
    );
    const deadline = Date.now() + DEPLOY_WAIT_MS;
    while (Date.now() < deadline) {
      const { release } = await this.graphql<{ release: Release }>(
        `query ($id: String!) { release(id: $id) {
           rowId version status error { code fault message hint } } }`,
        { id: started.deployImage.release.rowId },
      );
      if (release.status === "SUCCEEDED" || release.status === "FAILED") return release;
      await Bun.sleep(POLL_MS);
    }
    throw new Error(`release of ${app} did not end within ${DEPLOY_WAIT_MS} ms`);
  }

  async machines(app: string): Promise<Machine[]> {
    const { app: found } = await this.graphql<{ app: { machines: { edges: { node: Machine }[] } } | null }>(
      `query ($name: String!) { app(name: $name) { machines(first: 50) { edges { node {
         machineId state reason lastExit { exitCode signal oomKilled requested } } } } } }`,
      { name: app },
    );
    return found?.machines.edges.map((edge) => edge.node) ?? [];
  }

  /** Asks until `condition` holds; the message of the failure says what was awaited. */
  async until<T>(
    what: string,
    ask: () => Promise<T>,
    condition: (value: T) => boolean,
    withinMs = 60_000,
  ): Promise<T> {
    const deadline = Date.now() + withinMs;
    let last: unknown;
    while (Date.now() < deadline) {
      try {
        const value = await ask();
        if (condition(value)) return value;
        last = value;
      } catch (error) {
        last = error;
      }
      await Bun.sleep(POLL_MS);
    }
    throw new Error(
      `${what}: not within ${withinMs} ms; last ${
        last instanceof Error ? last.message : JSON.stringify(last)
      }`,
    );
  }
}

export interface HostProcess {
  readonly pid: number;
  readonly argv: string[];
}

/** Every process of this machine, from /proc. */
export function processes(): HostProcess[] {
  const found: HostProcess[] = [];
  for (const name of new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })) {
    try {
      const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").filter((word) => word !== "");
      if (argv.length > 0) found.push({ pid: Number(name), argv });
    } catch {
      // the process ended between the listing and the read
    }
  }
  return found;
}
