/**
 * Debian's nginx out of Debian's own packages, put together by buildah: an image that nobody wrote for this project. Five
 * layers, one of which only takes away (whiteouts), logs linked to /dev/stdout and /dev/stderr as the public nginx image has
 * them, and a 20 MB file to fetch.
 */
import { createCipheriv } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runBuildTool } from "../../../control/cli/build/run-build-tool.ts";
import { GodwitError } from "../../../control/contract/errors.ts";
import { cachedLayout, keyOf, type TestImage, testImage } from "./test-image.ts";

/** What nginx needs to run, and a shell for the layer that removes. */
const basePackages = [
  "base-files",
  "base-passwd",
  "busybox-static",
  "libc6",
  "libcrypt1",
  "libpcre2-8-0",
  "libssl3",
  "zlib1g",
];
const nginxPackages = ["nginx-common", "nginx"];

const LARGE_FILE_BYTES = 20 * 1_048_576;

export interface NginxImage extends TestImage {
  readonly port: number;
  /** Path and SHA-256 of the large file in the docroot. */
  readonly largeFile: { readonly path: string; readonly bytes: number; readonly sha256: string };
}

interface Variant {
  readonly tag: string;
  readonly port: number;
  /** The image's User, or empty for root. */
  readonly user: string;
}
/** Listens on 80 as root, its workers as www-data. */
const asRoot: Variant = { tag: "root", port: 80, user: "" };
/** Listens on 8080 as www-data by name: the uid is to be found in the image's own /etc/passwd. */
const asUser: Variant = { tag: "user", port: 8080, user: "www-data:www-data" };

/** Port 80, as root. */
export function nginxAsRoot(): Promise<NginxImage> {
  return nginx(asRoot);
}
/** Port 8080, as www-data. */
export function nginxAsUser(): Promise<NginxImage> {
  return nginx(asUser);
}

async function nginx(variant: Variant): Promise<NginxImage> {
  const large = pseudoRandom(LARGE_FILE_BYTES);
  const packages = [...basePackages, ...nginxPackages];
  const recipe = [asRoot, asUser].flatMap((v) => [dockerfile(v), nginxConf(v)]);
  const versions = await run(["apt-cache", "show", "--no-all-versions", ...packages]);
  const layoutFolder = await cachedLayout("nginx", keyOf(...recipe, versions), async (layout, work) => {
    const context = join(work, "context");
    await unpackPackages(packages, context, work);
    mkdirSync(join(context, "www"));
    writeFileSync(join(context, "www", "large.bin"), large);
    writeFileSync(join(context, "www", "index.html"), "it serves\n");
    for (const v of [asRoot, asUser]) {
      writeFileSync(join(context, "nginx.conf"), nginxConf(v));
      writeFileSync(join(context, "Dockerfile"), dockerfile(v));
      await buildInto(layout, v.tag, context, work);
    }
  });
  const sha256 = new Bun.CryptoHasher("sha256").update(large).digest("hex");
  return {
    ...testImage(`nginx-${variant.tag}`, layoutFolder, variant.tag),
    port: variant.port,
    largeFile: { path: "/large.bin", bytes: large.length, sha256 },
  };
}

async function unpackPackages(packages: string[], context: string, work: string): Promise<void> {
  const debs = join(work, "debs");
  for (const folder of [debs, join(context, "base"), join(context, "nginx")]) {
    mkdirSync(folder, { recursive: true });
  }
  await run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", ...packages], debs);
  for (const deb of readdirSync(debs)) {
    const target = nginxPackages.includes(deb.split("_")[0] ?? "") ? "nginx" : "base";
    await run(["dpkg-deb", "-x", join(debs, deb), join(context, target)]);
  }
  // dpkg's scripts do not run here; this is what base-passwd's would do.
  for (const file of ["passwd", "group"]) {
    copyFileSync(join(context, `base/usr/share/base-passwd/${file}.master`), join(context, "base/etc", file));
  }
}

function dockerfile({ port, user }: Variant): string {
  const remove =
    "rm -rf /usr/share/doc /usr/share/man /usr/share/lintian /etc/nginx/sites-enabled /var/www/html";
  const links = "ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log";
  return `FROM scratch
COPY base/ /
COPY nginx/ /
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin && ${remove} && ${links}"]
COPY www/ /usr/share/nginx/html/
COPY nginx.conf /etc/nginx/nginx.conf
${user === "" ? "" : `USER ${user}\n`}EXPOSE ${port}
STOPSIGNAL SIGQUIT
CMD ["/usr/sbin/nginx", "-g", "daemon off;"]
`;
}

function nginxConf({ port, user }: Variant): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((t) => `  ${t}_temp_path /tmp/${t};`)
    .join("\n");
  return `${user === "" ? "user www-data;\n" : ""}worker_processes 1;
pid /tmp/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 256; }
http {
  include /etc/nginx/mime.types;
  access_log /var/log/nginx/access.log;
  sendfile on;
${temp}
  server { listen ${port}; listen [::]:${port}; root /usr/share/nginx/html; }
}
`;
}

/** `--layers` makes a layer of each instruction, whiteouts and all; the second variant finds the first's in the storage. */
async function buildInto(layoutFolder: string, tag: string, context: string, work: string): Promise<void> {
  const temp = join(work, "temp");
  mkdirSync(temp, { recursive: true });
  const buildah = [
    "buildah",
    "--root",
    join(work, "root"),
    "--runroot",
    join(work, "runroot"),
    "--storage-driver",
    "vfs",
  ];
  const image = `localhost/e2e:${tag}`;
  const options = { onLine: () => {}, tempFolder: temp };
  for (
    const argv of [
      [...buildah, "bud", "--layers", "--isolation", "chroot", "--tag", image, context],
      [...buildah, "push", "--quiet", image, `oci:${layoutFolder}:${tag}`],
    ]
  ) {
    const result = await runBuildTool(argv, options);
    if (result.status !== 0) throw failed("buildah", result.lastLines.join("\n"));
  }
}

/** The same bytes on every machine, that no compression shrinks: AES-CTR over zeros. */
function pseudoRandom(bytes: number): Uint8Array {
  return createCipheriv("aes-128-ctr", new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(bytes));
}

async function run(argv: string[], cwd = "/"): Promise<string> {
  const child = Bun.spawn(argv, { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw failed(argv.slice(0, 2).join(" "), err.trim().slice(-600));
  return out;
}

function failed(what: string, why: string): GodwitError {
  return new GodwitError("e2e.image_not_built", `Cannot build the nginx image: ${what}: ${why}`, {
    fault: "us",
    retryable: true,
    hint: "it needs Debian's package lists (apt-get update) and a way to Debian's mirror",
  });
}
