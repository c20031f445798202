/** godwit machine list | status | start | suspend | stop | destroy; exec is in exec.ts. */
import { GodwitError } from "../../contract/errors.ts";
import { MachineView } from "../../contract/machine.ts";
import type { ApiClient } from "../api-client.ts";
import { checkedMachineId } from "../machine-id.ts";
import { type Page, PAGE_SIZE, readPages } from "../pages.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { foundApp } from "./apps.ts";

interface Exit {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly oomKilled: boolean;
  readonly requested: boolean;
  readonly restarting: boolean;
  readonly reason: string | null;
  readonly at: string;
}

interface LifeEvent {
  readonly at: string;
  readonly type: string;
  readonly status: string;
  readonly source: string;
  readonly exit: Exit | null;
  readonly reason: string | null;
}

interface Machine {
  readonly machineId: string;
  readonly app: { readonly name: string };
  readonly state: string;
  readonly hostId: string;
  readonly hostStatus: string;
  readonly region: string;
  readonly image: string;
  readonly vmm: string | null;
  readonly privateIp: string | null;
  readonly privateIp6: string | null;
  readonly reason: string | null;
  readonly guest: { readonly cpuKind: string; readonly cpus: number; readonly memoryMb: number };
  readonly lastExit: Exit | null;
  readonly restarts: number | null;
  readonly createdAt: string;
  readonly updatedAt: string | null;
  readonly startedAt: string | null;
}

interface MachineWithEvents extends Machine {
  readonly events: readonly LifeEvent[];
}

const EXIT_FIELDS = "exitCode signal oomKilled requested restarting reason at";
const FIELDS = `machineId app { name } state hostId hostStatus region image vmm privateIp privateIp6 reason
  guest { cpuKind cpus memoryMb } restarts
  lastExit { ${EXIT_FIELDS} }
  createdAt updatedAt startedAt`;
/** Of one machine: its worker is asked for them separately. */
const EVENT_FIELDS = `events { at type status source reason exit { ${EXIT_FIELDS} } }`;
/** One call of the wait path; asked again until the command's own patience ends. */
const WAIT_CALL_S = 55;
const WAIT_S_MAX = 300;

export async function listMachines(session: Session): Promise<void> {
  const api = await session.api();
  const name = session.app;
  const found = await readPages(async (after) => {
    const { app }: { app: { machines: Page<Machine> } | null } = await api.graphql(
      `query ($name: String!, $first: Int, $after: String) { app(name: $name) {
        machines(first: $first, after: $after) {
          edges { node { ${FIELDS} } } pageInfo { hasNextPage endCursor } } } }`,
      { name, first: PAGE_SIZE, after },
    );
    return foundApp(app, name).machines;
  });
  const machines = found.map(plain);
  const rows = machines.map(({ id, state, region, guest, private_ip, created_at }) => ({
    id,
    state,
    region,
    size: sizeOf(guest),
    private_ip,
    created_at,
  }));
  session.result(
    { machines },
    table(rows, `${name} has no machines; deploy an image: godwit deploy -a ${name}`),
  );
}

export async function machineStatus(session: Session, id: string): Promise<void> {
  const found = await readMachine(await session.api(), id);
  const machine = { ...plain(found), events: found.events.map(plainEvent) };
  session.result({ machine }, `${describe(machine)}\n\n${eventTable(machine.events)}`);
}

export async function startMachine(session: Session, id: string, wait: boolean): Promise<void> {
  await act(session, "startMachine", "MachineActionInput", id, {}, wait ? "started" : null);
}

export async function suspendMachine(session: Session, id: string, wait: boolean): Promise<void> {
  await act(session, "suspendMachine", "MachineActionInput", id, {}, wait ? "suspended" : null);
}

export async function stopMachine(
  session: Session,
  id: string,
  how: { signal?: string; timeout?: number },
  wait: boolean,
): Promise<void> {
  const more = {
    ...(how.signal === undefined ? {} : { signal: how.signal }),
    ...(how.timeout === undefined ? {} : { timeoutS: how.timeout }),
  };
  await act(session, "stopMachine", "StopMachineInput", id, more, wait ? "stopped" : null);
}

export async function destroyMachine(session: Session, id: string, wait: boolean): Promise<void> {
  await session.confirm(`Destroy machine ${id}?`);
  await act(session, "destroyMachine", "MachineActionInput", id, {}, wait ? "destroyed" : null);
}

async function act(
  session: Session,
  mutation: string,
  inputType: string,
  id: string,
  more: Record<string, unknown>,
  goal: "started" | "suspended" | "stopped" | "destroyed" | null,
): Promise<void> {
  const api = await session.api();
  const answer = await api.graphql<Record<string, { machine: Machine }>>(
    `mutation ($input: ${inputType}!) { ${mutation}(input: $input) { machine { ${FIELDS} } } }`,
    { input: { machineId: checkedMachineId(id), ...more } },
  );
  const accepted = plain(answer[mutation]!.machine);
  if (goal === null) {
    return session.result({ machine: accepted }, `Machine ${id}: ${accepted.state}`);
  }
  const state = await waitForState(api, id, goal);
  session.result({ machine: { ...accepted, state } }, `Machine ${id}: ${state}`);
}

/** @throws `cli.machine_state` where the machine came to rest in another state. */
async function waitForState(api: ApiClient, id: string, goal: string): Promise<string> {
  const deadline = Date.now() + WAIT_S_MAX * 1_000;
  while (true) {
    try {
      const answer = await api.rest(`/v1/machines/${id}/wait?state=${goal}&timeout_s=${WAIT_CALL_S}`, {
        signal: AbortSignal.timeout((WAIT_CALL_S + 10) * 1_000),
      });
      const view = MachineView.parse(await answer.json());
      if (view.state === goal) return goal;
      const why = view.reason === null ? "" : `: ${view.reason}`;
      throw new GodwitError("cli.machine_state", `Machine ${id} is ${view.state}, not ${goal}${why}`, {
        fault: "app",
        hint: `godwit machine status ${id}; godwit logs -a ${view.app_name} --machine ${id}`,
      });
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error;
      // A machine that is destroyed may be forgotten before anybody asks for it.
      if (goal === "destroyed" && /not_found$/.test(error.code)) return goal;
      if (error.code !== "machine.wait_timeout" || Date.now() > deadline) throw error;
    }
  }
}

async function readMachine(api: ApiClient, id: string): Promise<MachineWithEvents> {
  const { machine } = await api.graphql<{ machine: MachineWithEvents | null }>(
    `query ($id: String!) { machine(id: $id) { ${FIELDS} ${EVENT_FIELDS} } }`,
    { id: checkedMachineId(id) },
  );
  if (machine !== null) return machine;
  throw new GodwitError("cli.not_found", `There is no machine ${id}, or it is not yours to see`, {
    fault: "client",
    hint: "see `godwit machine list -a APP`",
  });
}

function plainExit(exit: Exit) {
  return {
    exit_code: exit.exitCode,
    signal: exit.signal,
    oom_killed: exit.oomKilled,
    requested: exit.requested,
    restarting: exit.restarting,
    reason: exit.reason,
    at: exit.at,
  };
}

function plainEvent({ exit, ...event }: LifeEvent) {
  return { ...event, exit: exit === null ? null : plainExit(exit) };
}

/** Newest first, as they come. */
function eventTable(events: readonly ReturnType<typeof plainEvent>[]): string {
  const rows = events.map(({ at, type, status, source, exit, reason }) => ({
    event: type,
    state: status,
    by: source,
    at,
    details: exit === null ? reason : howOf(exit),
  }));
  return table(rows, "no events to show");
}

/** snake_case and lower-case states, as all JSON of the CLI. */
function plain(machine: Machine) {
  const exit = machine.lastExit;
  return {
    id: machine.machineId,
    app: machine.app.name,
    state: machine.state.toLowerCase(),
    region: machine.region,
    host: machine.hostId,
    host_status: machine.hostStatus.toLowerCase(),
    image: machine.image,
    vmm: machine.vmm,
    guest: {
      cpu_kind: machine.guest.cpuKind.toLowerCase(),
      cpus: machine.guest.cpus,
      memory_mb: machine.guest.memoryMb,
    },
    private_ip: machine.privateIp,
    private_ip6: machine.privateIp6,
    reason: machine.reason,
    last_exit: exit === null ? null : plainExit(exit),
    restarts: machine.restarts,
    created_at: machine.createdAt,
    updated_at: machine.updatedAt,
    started_at: machine.startedAt,
  };
}

const sizeOf = (guest: { cpu_kind: string; cpus: number; memory_mb: number }) =>
  `${guest.cpu_kind}-${guest.cpus}x:${guest.memory_mb}MB`;

function describe(machine: ReturnType<typeof plain>): string {
  const exit = machine.last_exit;
  const lines: [string, string | null][] = [
    ["machine", machine.id],
    ["app", machine.app],
    ["state", machine.state],
    ["reason", machine.reason],
    ["region", `${machine.region}, host ${machine.host} (${machine.host_status})`],
    ["size", sizeOf(machine.guest)],
    ["image", machine.image],
    ["vmm", machine.vmm],
    ["private ip", [machine.private_ip, machine.private_ip6].filter((ip) => ip !== null).join(", ") || null],
    ["created", machine.created_at],
    ["started", machine.started_at],
    ["restarts", machine.restarts === 0 || machine.restarts === null ? null : String(machine.restarts)],
    ["last exit", exit === null ? null : `${howOf(exit)}, at ${exit.at}`],
  ];
  return lines.filter(([, value]) => value !== null).map(([name, value]) => `${name.padEnd(11)} ${value}`)
    .join("\n");
}

function howOf(exit: ReturnType<typeof plainExit>): string {
  const how = exit.oom_killed
    ? "killed for memory"
    : exit.signal !== null
    ? `ended by ${exit.signal}`
    : `exit code ${exit.exit_code ?? "unknown"}`;
  return `${how}${exit.requested ? ", as asked" : ""}${exit.restarting ? ", run again" : ""}${
    exit.reason === null ? "" : `: ${exit.reason}`
  }`;
}
