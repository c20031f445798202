import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { newMachineId } from "../../contract/names.ts";
import { Kernel } from "./kernel.ts";
import { inside, Lab, run } from "./lab.fixture.ts";
import { type LinkRequest, type MachineLink, Network, type NetworkOptions } from "./network.ts";

setDefaultTimeout(60_000);
const lab = new Lab();
afterAll(() => lab.close());

const options: NetworkOptions = {
  prefix: "gw0a1b2c",
  range4: "172.20.16.0/20",
  range6: "fd12:3456:789a::/48",
  nameservers: ["198.51.100.1"],
  bytesPerS: 125_000_000,
  netns: lab.host,
};
const network = new Network(options);
const request = (index: number, orgNetwork: number, kind: LinkRequest["kind"] = "veth"): LinkRequest => ({
  index,
  machineId: newMachineId(),
  orgId: String(orgNetwork).padStart(20, "0"),
  orgNetwork,
  kind,
});

/** Two machines of one organisation and one of another, each with an HTTP server. */
const requests = { a1: request(0, 1), a2: request(1, 1), b: request(2, 2) };
const links = {} as Record<keyof typeof requests, MachineLink>;
const machines = {} as Record<keyof typeof requests, string>;
const http4 = (link: MachineLink) => `http://${link.address4.split("/")[0]}:8080/`;
const http6 = (link: MachineLink) => `http://[${link.address6.split("/")[0]}]:8080/`;
const table = () => inside(lab.host, ["nft", "list", "ruleset"]).stdout.toString();

beforeAll(async () => {
  await network.prepare();
  for (const name of ["a1", "a2", "b"] as const) {
    links[name] = await network.attach(requests[name]);
    machines[name] = lab.machine(links[name]);
    await lab.serve(machines[name], 8080, name);
  }
  await lab.serve(lab.internet, 80, "internet");
  await lab.serve(lab.host, 7000, "host");
});

test("network: the host reaches a machine over IPv4 and IPv6", () => {
  expect(lab.get(lab.host, http4(links.a1))).toBe("a1");
  expect(lab.get(lab.host, http6(links.a1))).toBe("a1");
});

test("network: the host knows a machine's MAC without asking, so that a machine which just woke hears its first packet", () => {
  for (const { name, mac, address4, address6 } of Object.values(links)) {
    const shown = run(["ip", "-n", lab.host, "-j", "neighbour", "show", "dev", name, "nud", "permanent"]);
    const known = JSON.parse(shown) as { dst: string; lladdr: string }[];
    const bare = [address4, address6].map((address) => address.split("/")[0]);
    for (const dst of bare) {
      expect(known).toContainEqual(expect.objectContaining({ dst, lladdr: mac }));
    }
  }
});

test("network: machines of one organisation reach each other over IPv4 and IPv6", () => {
  expect(lab.get(machines.a1, http4(links.a2))).toBe("a2");
  expect(lab.get(machines.a1, http6(links.a2))).toBe("a2");
  expect(lab.get(machines.a2, http6(links.a1))).toBe("a1");
});

test("network: machines of different organisations do not reach each other", () => {
  for (const [from, to] of [["a1", "b"], ["b", "a1"], ["b", "a2"]] as const) {
    expect(lab.get(machines[from], http4(links[to]))).toBeNull();
    expect(lab.get(machines[from], http6(links[to]))).toBeNull();
    expect(lab.pings(machines[from], links[to].address4.split("/")[0]!)).toBe(false);
  }
});

test("network: a machine reaches the internet with the host's address", () => {
  // The internet's namespace has no route back to the machines' ranges, so an answer means the source was the host's.
  expect(lab.get(machines.a1, `http://${lab.uplink.far4}/`)).toBe("internet");
  expect(lab.get(machines.b, "http://[2001:db8::1]/")).toBe("internet");
});

test("network: nobody outside opens a connection into a machine", () => {
  run(["ip", "-n", lab.internet, "route", "add", options.range4, "via", lab.uplink.host4]);
  run(["ip", "-n", lab.internet, "route", "add", options.range6, "via", lab.uplink.host6]);
  expect(lab.get(lab.internet, http4(links.a1))).toBeNull();
  expect(lab.get(lab.internet, http6(links.a1))).toBeNull();
  run(["ip", "-n", lab.internet, "route", "del", options.range4]);
  run(["ip", "-n", lab.internet, "route", "del", options.range6]);
});

test("network: a machine reaches no service of the host, and may ping its gateway", () => {
  const { gateway4 } = links.a1;
  for (const address of [gateway4, links.b.gateway4, lab.uplink.host4, `[${lab.uplink.host6}]`]) {
    expect(lab.get(machines.a1, `http://${address}:7000/`)).toBeNull();
  }
  expect(lab.pings(machines.a1, lab.uplink.host4)).toBe(false);
  expect(lab.pings(machines.a1, gateway4)).toBe(true);
  expect(lab.pings(machines.a1, "fe80::1%eth0")).toBe(true);
});

test("network: a packet with another's source address is dropped", () => {
  const stolen4 = "172.20.16.3";
  const stolen6 = links.a2.address6.split("/")[0]!;
  run(["ip", "-n", machines.a1, "address", "add", `${stolen4}/32`, "dev", "eth0"]);
  run(["ip", "-n", machines.a1, "address", "add", `${stolen6}/128`, "dev", "eth0", "nodad"]);
  const before = spoofed();
  expect(lab.pings(machines.a1, links.a1.gateway4, stolen4)).toBe(false);
  expect(lab.pings(machines.a1, "2001:db8::1", stolen6)).toBe(false);
  expect(spoofed()).toBeGreaterThan(before);
  run(["ip", "-n", machines.a1, "address", "del", `${stolen4}/32`, "dev", "eth0"]);
  run(["ip", "-n", machines.a1, "address", "del", `${stolen6}/128`, "dev", "eth0"]);
});

test("network: a machine cannot make the host believe in a router", () => {
  // Type 134, router lifetime 1800 s, to all nodes; the kernel fills in the checksum.
  const advertise = `import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8] + [0] * 8), ("ff02::1", 0))`;
  const before = spoofed();
  const { exitCode, stderr } = inside(machines.a1, ["python3", "-c", advertise]);
  if (exitCode === 0) expect(spoofed()).toBe(before + 1);
  else console.log(`skipped: nothing here sends a router advertisement: ${stderr}`);
  const routes = run(["ip", "-n", lab.host, "-6", "route", "show", "default"]);
  expect(routes).not.toContain(links.a1.name);
});

test("prepare() again leaves links and machines as they are, as after a kill of the agent", async () => {
  await new Network(options).prepare();
  expect(lab.get(lab.host, http4(links.a1))).toBe("a1");
  expect(lab.get(machines.a1, http6(links.a2))).toBe("a2");
  expect(lab.get(machines.b, http4(links.a1))).toBeNull();
});

test("attach() of a link that is there changes nothing and answers the same", async () => {
  const before = run(["ip", "-n", lab.host, "-j", "address", "show", links.a1.name]);
  expect(await new Network(options).attach(requests.a1)).toEqual(links.a1);
  expect(run(["ip", "-n", lab.host, "-j", "address", "show", links.a1.name])).toBe(before);
  expect(lab.get(lab.host, http4(links.a1))).toBe("a1");
});

test("attach() of another machine under a left index takes nothing over from the old one", async () => {
  const old = request(9, 1, "tap");
  await network.attach(old);
  const left = network.addressesOf(old).address6.split("/")[0]!;
  const link = await network.attach(request(9, 2, "veth"));
  expect(table()).not.toContain(left);
  expect(run(["ip", "-n", lab.host, "-6", "route"])).not.toContain(left);
  const machine = lab.machine(link);
  expect(lab.get(machine, http4(links.b))).toBe("b");
  expect(lab.get(machine, http4(links.a1))).toBeNull();
  await network.attach(request(9, 1, "tap"));
  expect(run(["ip", "-n", lab.host, "-details", "link", "show", link.name])).toContain("tun type tap");
  await network.detach(9);
});

test("attach() finishes a link that a killed agent left half made", async () => {
  const half = request(10, 1);
  const link = network.addressesOf(half);
  run(["ip", "-n", lab.host, "link", "add", link.name, "type", "veth", "peer", "name", `${link.name}p`]);
  expect(await network.list()).toContain(10);
  await network.attach(half);
  expect(lab.get(lab.machine(link), http4(links.a1))).toBe("a1");
  await network.detach(10);
});

test("attach() beyond the range is a typed error and leaves nothing", async () => {
  const error = await network.attach(request(2_048, 1)).catch((reason) => reason);
  expect(error.code).toBe("network.range_exhausted");
  expect(await network.list()).toEqual([0, 1, 2]);
});

test("attach() carries what ip(8) said when the kernel refuses", async () => {
  const elsewhere = new Network({ ...options, prefix: "gwffffff" });
  const error = await elsewhere.attach(request(0, 1)).catch((reason) => reason);
  expect(error.code).toBe("network.command_failed");
  expect(error.message).toContain("No such file or directory");
  await elsewhere.removeAll();
});

test("attach() of fifty machines at once gives each its link, and detach() removes them", async () => {
  const many = Array.from({ length: 50 }, (_, i) => request(100 + i, i % 3, i % 2 === 0 ? "tap" : "veth"));
  const started = performance.now();
  const made = await Promise.all(many.map((one) => network.attach(one)));
  console.log(`50 attaches at once: ${Math.round(performance.now() - started)} ms`);
  expect(new Set(made.map((link) => link.address4)).size).toBe(50);
  expect(await network.list()).toEqual([0, 1, 2, ...many.map(({ index }) => index)]);
  expect(lab.get(lab.machine(made[1]!), http4(links.a1))).toBe("a1");
  await Promise.all(many.map(({ index }) => network.detach(index)));
  expect(await network.list()).toEqual([0, 1, 2]);
  expect(table()).not.toContain(made[7]!.name);
});

test("detach() of a missing link does nothing", async () => {
  await network.detach(77);
  await network.detach(77);
  expect(await network.list()).toEqual([0, 1, 2]);
});

test("two stacks live side by side, and the last one puts back the uplink's forwarding", async () => {
  const second = new Network({
    ...options,
    prefix: "gw0d0e0f",
    range4: "172.21.0.0/20",
    range6: "fdaa:bbbb:cccc::/48",
  });
  await second.prepare();
  const link = await second.attach(request(0, 1));
  const machine = lab.machine(link);
  await lab.serve(machine, 8080, "second");
  expect(lab.get(lab.host, http4(link))).toBe("second");
  expect(lab.get(machine, `http://${lab.uplink.far4}/`)).toBe("internet");
  expect(lab.get(machines.a1, http4(link))).toBeNull();
  expect(lab.get(machine, http4(links.a1))).toBeNull();
  await second.removeAll();
  expect(lab.get(machines.a1, `http://${lab.uplink.far4}/`)).toBe("internet");
  expect(lab.sysctl(lab.host, "net/ipv4/conf/up0/forwarding")).toBe("1");
});

test("network: a host that was no router does not become one", () => {
  const { host } = lab;
  // A network behind the host on which nothing else is said: no IPv6, and the neighbour's address is known.
  run(["ip", "-n", host, "link", "add", "side0", "type", "veth", "peer", "name", "sidep"]);
  for (const end of ["side0", "sidep"]) run(["ip", "-n", host, "link", "set", end, "addrgenmode", "none"]);
  run(["ip", "-n", host, "address", "add", "203.0.113.1/24", "dev", "side0"]);
  run(["ip", "-n", host, "link", "set", "side0", "up"]);
  run(["ip", "-n", host, "link", "set", "sidep", "up"]);
  run(["ip", "-n", host, "neigh", "add", "203.0.113.9", "lladdr", "02:00:00:00:00:09", "dev", "side0"]);
  run(["ip", "-n", lab.internet, "route", "add", "203.0.113.0/24", "via", lab.uplink.host4]);
  const sentOut = () => {
    const [device] = JSON.parse(run(["ip", "-n", host, "-j", "-s", "link", "show", "side0"]));
    return device.stats64.tx.packets as number;
  };
  const before = sentOut();
  inside(lab.internet, ["busybox", "ping", "-c", "1", "-W", "1", "203.0.113.9"]);
  expect(sentOut()).toBe(before);
  run(["ip", "-n", host, "link", "del", "side0"]);
});

test("network: a worker in the host's own namespace opens and closes the same way", async () => {
  // As in production, with no netns option: the worker's process stands in the namespace itself.
  const beside = new Lab();
  const program = `
    import { Network, removeNetwork } from "${import.meta.dir}/network.ts";
    const network = new Network(${JSON.stringify({ ...options, netns: undefined })});
    await network.prepare();
    await network.attach(${JSON.stringify(request(3, 1, "tap"))});
    if (process.argv.at(-1) === "remove") await removeNetwork("${options.prefix}");
    else console.log(JSON.stringify(await network.list()));
  `;
  const settings = ["net/ipv4/conf/up0/forwarding", "net/ipv6/conf/up0/force_forwarding"];
  const asWorker = (what: string) => inside(beside.host, [process.execPath, "-e", program, what]);
  const first = asWorker("stay");
  expect(first.stderr.toString()).toBe("");
  expect(first.stdout.toString()).toBe("[3]\n");
  const ofLink = ["net/ipv4/conf/gw0a1b2ct3/forwarding", "net/ipv6/conf/gw0a1b2ct3/force_forwarding"];
  for (const name of [...settings, ...ofLink]) expect(beside.sysctl(beside.host, name)).toBe("1");
  expect(asWorker("remove").stderr.toString()).toBe("");
  for (const name of settings) expect(beside.sysctl(beside.host, name)).toBe("0");
  await beside.close();
});

test("network: a link that is attached while its index is being detached stands afterwards", async () => {
  const [deleting, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  /** Stands still before it deletes a link for the first time. */
  class Held extends Kernel {
    override async ipBatch(lines: readonly string[]) {
      if (lines[0]?.startsWith("link delete")) {
        deleting.resolve();
        await goOn.promise;
      }
      return await super.ipBatch(lines);
    }
  }
  const held = new Network(options, new Held(lab.host));
  const after = request(9, 1);
  const detached = held.detach(9);
  await deleting.promise;
  const attached = held.attach(after);
  // One that nothing holds up: by its end the other would stand, too, had it not waited.
  await held.attach(request(10, 1));
  goOn.resolve();
  await Promise.all([detached, attached]);
  const { name } = held.addressesOf(after);
  expect(inside(lab.host, ["ip", "link", "show", "dev", name]).stdout.toString()).toContain(after.machineId);
  await Promise.all([held.detach(9), held.detach(10)]);
  expect((await held.list()).filter((index) => index >= 9)).toEqual([]);
});

test("removeAll() leaves no link, no table and the host's settings as they were, and other tables alone", async () => {
  inside(lab.host, ["nft", "add", "table", "inet", "firewall"]);
  expect(lab.sysctl(lab.host, "net/ipv4/conf/up0/forwarding")).toBe("1");
  expect(lab.sysctl(lab.host, "net/ipv4/ip_forward")).toBe("0");
  expect(lab.sysctl(lab.host, "net/ipv6/conf/all/forwarding")).toBe("0");
  await network.removeAll();
  expect(await network.list()).toEqual([]);
  expect(table().trim()).toBe("table inet firewall {\n}");
  const names = (JSON.parse(run(["ip", "-n", lab.host, "-j", "link"])) as { ifname: string }[]).map((l) =>
    l.ifname
  );
  expect(names.sort()).toEqual(["lo", "up0"]);
  expect(lab.sysctl(lab.host, "net/ipv4/conf/up0/forwarding")).toBe("0");
  expect(lab.sysctl(lab.host, "net/ipv6/conf/up0/force_forwarding")).toBe("0");
  await network.removeAll();
});

function spoofed(): number {
  const output = inside(lab.host, ["nft", "-j", "list", "counter", "inet", options.prefix, "spoofed"]).stdout;
  const objects = JSON.parse(output.toString()).nftables as { counter?: { packets: number } }[];
  return objects.find(({ counter }) => counter !== undefined)?.counter?.packets ?? 0;
}
