/** What the command line and the API tell of a machine's life, from a real worker's store. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { InsideMachine } from "./inside-machine.fixture.ts";

const WAIT_MS = 30_000;
let inside: InsideMachine;
beforeAll(async () => {
  inside = await InsideMachine.start();
  await inside.worker.call("POST", `/v1/machines/${inside.machineId}/stop`, { signal: "SIGKILL" });
  await inside.worker.wait(inside.machineId, "stopped");
}, 120_000);
afterAll(() => inside.close(), 60_000);

test("godwit machine status shows events, newest first, an exit with how it ended", async () => {
  const { stdout, status } = await inside.godwit(["machine", "status", inside.machineId]);
  expect(status).toBe(0);
  const [head, ...rows] = stdout.trim().slice(stdout.indexOf("\n\n") + 2).split("\n");
  expect(head!.split(/\s{2,}/)).toEqual(["EVENT", "STATE", "BY", "AT", "DETAILS"]);
  const seen = rows.map((row) => row.split(/\s{2,}/)).map(([event, state, by, , details]) =>
    [event, state, by, details].join(" ")
  );
  expect(seen).toEqual([
    "exit stopped worker ended by SIGKILL, as asked",
    "stop stopping api -",
    "start started worker -",
    "start starting api -",
    "launch created api -",
  ]);
  const json = await inside.godwit(["machine", "status", inside.machineId, "--json"]);
  const { machine } = JSON.parse(json.stdout);
  expect(machine.events[0]).toMatchObject({
    type: "exit",
    exit: { signal: "SIGKILL", requested: true, oom_killed: false, restarting: false },
  });
}, WAIT_MS);

test("GET /v1/apps/NAME/machines/ID/events has the reference's names, and is the app's own", async () => {
  const path = (app: string) => `/v1/apps/${app}/machines/${inside.machineId}/events`;
  const answer = await inside.api.request(path(inside.app));
  expect(answer.status).toBe(200);
  const events = await answer.json();
  expect(events.map(({ type, status, source }: Record<string, string>) => `${type} ${status} ${source}`))
    .toEqual([
      "exit stopped flyd",
      "stop stopping user",
      "start started flyd",
      "start starting user",
      "launch created user",
    ]);
  const [{ id, timestamp, request }] = events;
  expect([typeof id, typeof timestamp]).toEqual(["string", "number"]);
  expect(request.exit_event).toMatchObject({
    exit_code: 137,
    guest_exit_code: 137,
    signal: 9,
    guest_signal: 9,
    oom_killed: false,
    requested_stop: true,
    restarting: false,
  });
  expect(events[1].request).toBeUndefined();
  await inside.api.createApp("neighbour");
  expect((await inside.api.request(path("neighbour"))).status).toBe(404);
}, WAIT_MS);

test("events are empty where the worker is away, and the machine is still shown", async () => {
  await inside.worker.kill();
  const { stdout, status } = await inside.godwit(["machine", "status", inside.machineId]);
  expect([status, stdout.includes("unreachable"), stdout.includes("no events to show")]).toEqual([
    0,
    true,
    true,
  ]);
}, WAIT_MS);
