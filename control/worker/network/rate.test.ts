/** The links' rates, with real packets: what passed is compared with what the buckets can have let through at the most. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { newMachineId } from "../../contract/names.ts";
import { inside, Lab, run } from "./lab.fixture.ts";
import { Network } from "./network.ts";
import { burstFromMachine, burstToMachine, machineBytesPerS, QUEUE_MS_MAX, shapeLink } from "./rate.ts";

setDefaultTimeout(60_000);
const lab = new Lab();
afterAll(() => lab.close());

const BYTES_PER_S = 250_000;
const DATAGRAM_BYTES = 1_400;
const DATAGRAMS = 6_000;
/** Ethernet, IP and UDP add at most so much to a datagram. */
const WIRE_SHARE = 1.1;

const OFFERED_BYTES = DATAGRAMS * DATAGRAM_BYTES;

/** Offers DATAGRAMS to an address as fast as it can. */
const SEND = `const socket = await Bun.udpSocket({});
const bytes = Buffer.alloc(${DATAGRAM_BYTES});
for (let i = 0; i < ${DATAGRAMS}; i++) {
  try { socket.send(bytes, 9, process.argv.at(-1)); } catch {} // An answer that nobody listens there.
}
socket.close();`;

const network = new Network({
  prefix: "gw0a1b2c",
  range4: "172.20.16.0/20",
  range6: "fd12:3456:789a::/48",
  nameservers: [],
  bytesPerS: BYTES_PER_S,
  netns: lab.host,
});
await network.prepare();
const request = { index: 0, machineId: newMachineId(), orgId: "", orgNetwork: 1, kind: "veth" as const };
const link = await network.attach(request);
const machine = lab.machine(link);
const address = link.address4.split("/")[0]!;

test("a machine is sent no more than its rate", () => {
  const { passed, allowance } = flood(lab.host, address, machine, "eth0", burstToMachine(BYTES_PER_S));
  expect(passed).toBeLessThan(allowance);
  expect(passed).toBeGreaterThan(burstToMachine(BYTES_PER_S) / 2);
  expect(lab.pings(lab.host, address)).toBe(true);
});

test("a machine sends no more than its rate", () => {
  const { passed, allowance } = flood(
    machine,
    lab.uplink.far4,
    lab.internet,
    "far0",
    burstFromMachine(BYTES_PER_S),
  );
  expect(passed).toBeLessThan(allowance);
  expect(passed).toBeGreaterThan(burstFromMachine(BYTES_PER_S) / 2);
  expect(dropped()).toBeGreaterThan(0);
});

test("TCP goes through a link at its rate whole, both ways", async () => {
  const content = "x".repeat(200_000);
  await lab.serve(machine, 8080, content);
  await lab.serve(lab.internet, 80, content);
  expect(lab.get(lab.host, `http://${address}:8080/`)).toBe(content);
  expect(lab.get(machine, `http://${lab.uplink.far4}/`)).toBe(content);
});

test("attach() again keeps the link's rate, and the link takes it along", async () => {
  const shape = () => run(["tc", "-n", lab.host, "qdisc", "show", "dev", link.name]);
  const before = shape();
  expect(before).toContain("tbf");
  await network.attach(request);
  expect(shape()).toBe(before);
  await network.detach(0);
  expect(inside(lab.host, ["tc", "qdisc", "show", "dev", link.name]).exitCode).not.toBe(0);
});

test("machineBytesPerS() is 1 Gbit/s where the worker's configuration names none", () => {
  const ranges = { range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48", nameservers: [] };
  expect(machineBytesPerS({ network: ranges })).toBe(125_000_000);
  expect(machineBytesPerS({ network: { ...ranges, machine_bytes_per_s: 1_000_000 } })).toBe(1_000_000);
});

test("shapeLink() lets two of the largest packets pass at once, however slow the link", () => {
  expect(shapeLink("gw0a1b2ct1", 12_500)).toContain("rate 12500bps burst 131072b");
  expect(shapeLink("gw0a1b2ct1", 125_000_000)).toContain("rate 125000000bps burst 1250000b");
});

/** What of OFFERED_BYTES passed, and what a bucket held at the most, was given meanwhile, and let wait. */
function flood(from: string, to: string, by: string, device: string, bucketBytes: number) {
  const before = received(by, device);
  const begun = performance.now();
  const { exitCode, stderr } = inside(from, [process.execPath, "-e", SEND, to]);
  expect(`${exitCode} ${stderr}`).toBe("0 ");
  const passed = received(by, device) - before;
  const ms = performance.now() - begun + QUEUE_MS_MAX;
  const allowance = (bucketBytes + BYTES_PER_S * ms / 1_000) * WIRE_SHARE;
  expect(OFFERED_BYTES).toBeGreaterThan(allowance);
  return { passed, allowance };
}

function received(namespace: string, device: string): number {
  const [found] = JSON.parse(run(["ip", "-n", namespace, "-j", "-s", "link", "show", device]));
  return found.stats64.rx.bytes;
}

function dropped(): number {
  const counter = ["nft", "-j", "list", "counter", "inet", "gw0a1b2c", "too_fast"];
  const objects = JSON.parse(inside(lab.host, counter).stdout.toString()).nftables;
  return objects.find((object: { counter?: unknown }) => object.counter !== undefined).counter.packets;
}
