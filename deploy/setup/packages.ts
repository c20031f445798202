/** The Debian packages that one machine needs for everything, why, and the command that proves each one is there. */

export interface Package {
  readonly name: string;
  readonly why: string;
  /** Found on PATH or in the sbin folders when the package, or something that serves as well, is installed. */
  readonly proof: string;
  /** `check` alone needs it (tests and end-to-end tests). */
  readonly onlyForCheck?: true;
  /** `bench` alone needs it (peers and load clients). */
  readonly onlyForBench?: true;
}

export const PACKAGES: readonly Package[] = [
  { name: "qemu-system-x86", proof: "qemu-system-x86_64", why: "runs the machines" },
  { name: "redis-server", proof: "redis-server", why: "carries routing state from control to the edges" },
  { name: "docker-registry", proof: "docker-registry", why: "holds the images you deploy" },
  { name: "skopeo", proof: "skopeo", why: "copies images by digest" },
  { name: "buildah", proof: "buildah", why: "builds images from Dockerfiles" },
  { name: "runc", proof: "runc", why: "runs machines without a hypervisor (--vmm runc)" },
  { name: "erofs-utils", proof: "mkfs.erofs", why: "makes the read-only drive of vm-init" },
  { name: "e2fsprogs", proof: "mkfs.ext4", why: "makes each machine's writable drive" },
  { name: "iproute2", proof: "ip", why: "links and addresses of machines" },
  { name: "nftables", proof: "nft", why: "isolation of machines, NAT for their egress" },
  { name: "perl-base", proof: "perl", why: "takes QEMU's rights and its view of the host away" },
  { name: "util-linux", proof: "unshare", why: "mounts, loop devices, namespaces" },
  { name: "ca-certificates", proof: "update-ca-certificates", why: "TLS to image registries" },
  { name: "busybox-static", proof: "busybox", why: "the program inside of test images", onlyForCheck: true },
  {
    name: "umoci",
    proof: "umoci",
    why: "unpacks images in the tests that compare with it",
    onlyForCheck: true,
    onlyForBench: true,
  },
  { name: "cpio", proof: "cpio", why: "reads the initramfs that the tests made", onlyForCheck: true },
  {
    name: "ngtcp2-client",
    proof: "gtlsclient",
    why: "the HTTP/3 client of the edge's tests",
    onlyForCheck: true,
  },
  { name: "curl", proof: "curl", why: "end-to-end tests ask through it", onlyForCheck: true },
  { name: "pebble", proof: "pebble", why: "the certificate authority of the ACME tests", onlyForCheck: true },
  { name: "nginx", proof: "nginx", why: "peer of the edge, and the backend of both", onlyForBench: true },
  {
    name: "haproxy",
    proof: "haproxy",
    why: "peer of the edge; speaks the PROXY protocol in its tests",
    onlyForCheck: true,
    onlyForBench: true,
  },
  { name: "caddy", proof: "caddy", why: "peer of the edge, for reference", onlyForBench: true },
  { name: "wrk", proof: "wrk", why: "HTTP/1.1 load", onlyForBench: true },
  { name: "nghttp2-client", proof: "h2load", why: "HTTP/2 load", onlyForBench: true },
  {
    name: "openssl",
    proof: "openssl",
    why: "TLS client of the tests; the certificate that all proxies show",
    onlyForCheck: true,
    onlyForBench: true,
  },
];

const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** A user's PATH often lacks the sbin folders; every child of Godwit gets them. */
export function pathWithSbin(path: string | undefined): string {
  const given = (path ?? "").split(":").filter((folder) => folder !== "");
  return [...given, ...FOLDERS.filter((folder) => !given.includes(folder))].join(":");
}

export interface PackagesFor {
  readonly forCheck: boolean;
  /** Only what the benchmarks need, and nothing of the rest. */
  readonly forBench?: boolean;
}

/** The packages whose proof is not found. `which` is passed in so that the decision can be tested. */
export function missingPackages(
  options: PackagesFor & { readonly which: (command: string) => string | null },
): Package[] {
  return PACKAGES.filter((p) => isFor(p, options) && options.which(p.proof) === null);
}

function isFor(p: Package, { forCheck, forBench }: PackagesFor): boolean {
  if (forBench === true) return p.onlyForBench === true;
  if (forCheck && p.onlyForCheck === true) return true;
  return p.onlyForCheck !== true && p.onlyForBench !== true;
}

export function whichCommand(command: string): string | null {
  return Bun.which(command, { PATH: pathWithSbin(process.env.PATH) });
}

/** One line a package, for people. */
export function listPackages(packages: readonly Package[]): string {
  const width = Math.max(0, ...packages.map((p) => p.name.length));
  return packages.map((p) => `  ${p.name.padEnd(width)}  ${p.why}`).join("\n");
}
