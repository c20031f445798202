/**
 * A Redis named on a command line. A password does not stand there, where every user of the machine can read it: one in the
 * URL is refused, and a file is named instead.
 */
import { readFile, stat } from "node:fs/promises";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { formatRedisUrl, parseRedisUrl, type RedisUser } from "../../control/contract/redis-url.ts";

const PASSWORD_BYTES_MAX = 4_096;

export interface RedisOption {
  /** `redis`, for `--redis`, `--redis-password-file` and `--redis-sentinel-password-file`. */
  readonly name: string;
  readonly url: string;
  readonly passwordFile: string | undefined;
  readonly sentinelPasswordFile: string | undefined;
}

/**
 * @returns the URL, with the passwords of the files
 * @throws GodwitError `redis.url_invalid`, `edge.password_in_argv`, `edge.password_file_unusable`
 */
export async function readRedisOption(option: RedisOption): Promise<string> {
  const { name, url, passwordFile, sentinelPasswordFile } = option;
  const address = parseRedisUrl(url);
  const { user, sentinelUser, topology } = address;
  if (user.password !== null) throw inArgv(`--${name}-password-file`);
  if (sentinelUser.password !== null) throw inArgv(`--${name}-sentinel-password-file`);
  if (sentinelPasswordFile !== undefined && topology !== "sentinel") {
    throw unusable(sentinelPasswordFile, `the URL of --${name} has no sentinels`);
  }
  // A URL without a user means Redis' own `default`.
  return formatRedisUrl({
    ...address,
    user: await withPassword(user, passwordFile),
    sentinelUser: await withPassword(sentinelUser, sentinelPasswordFile),
  });
}

async function withPassword(user: RedisUser, file: string | undefined): Promise<RedisUser> {
  return file === undefined ? user : { ...user, password: await readPassword(file) };
}

async function readPassword(file: string): Promise<string> {
  try {
    if (((await stat(file)).mode & 0o077) !== 0) throw new Error("others may read it");
    const password = (await readFile(file, "utf8")).replace(/\r?\n$/, "");
    if (password === "") throw new Error("it is empty");
    if (password.length > PASSWORD_BYTES_MAX) throw new Error("it is too long");
    return password;
  } catch (error) {
    throw unusable(file, messageOf(error), error);
  }
}

function unusable(file: string, why: string, cause?: unknown): GodwitError {
  return new GodwitError("edge.password_file_unusable", `Cannot use the password file ${file}: ${why}`, {
    fault: "client",
    hint: "It holds the password of the URL's user and nothing else, and its mode is 0600.",
    cause,
  });
}

function inArgv(instead: string): GodwitError {
  return new GodwitError("edge.password_in_argv", "Cannot take a password from the command line", {
    fault: "client",
    hint:
      "Every user of the machine can read it there: put it into a file of mode 0600, and name that with " +
      `${instead}.`,
  });
}
