/** The environment of the user's process: the image's, the machine's on top, and what every program counts on. */

export const PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `imageEnv` holds `NAME=value` each; of two with one name the later wins. `home` is the user's, from /etc/passwd. */
export function envOf(
  imageEnv: readonly string[],
  machineEnv: Readonly<Record<string, string>>,
  home: string,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const entry of imageEnv) {
    const equals = entry.indexOf("=");
    // A name alone means an unset variable (runtime-spec, `process.env`).
    if (equals > 0) env[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  Object.assign(env, machineEnv);
  if ((env.PATH ?? "") === "") env.PATH = PATH_DEFAULT;
  if ((env.HOME ?? "") === "") env.HOME = home;
  return env;
}
