/**
 * Who the user's process is: the image's `User`, resolved against the image's own /etc/passwd and /etc/group by the
 * rules of Docker and runc: a name or a number, each with an optional group; a number needs no entry; a named group
 * leaves out the supplementary ones.
 */
import { BootError } from "../system/error.ts";
import type { Identity } from "../system/process.ts";

export interface User extends Identity {
  readonly home: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const ID_MAX = 0x7fffffff;

/** Lines that are not entries are passed over, as the C library does. */
export function parsePasswd(text: string): PasswdEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name, , uid, gid, , home] = line.split(":");
    const numbers = { uid: idOf(uid), gid: idOf(gid) };
    if (name === undefined || name === "" || numbers.uid === null || numbers.gid === null) return [];
    return [{ name, uid: numbers.uid, gid: numbers.gid, home: home ?? "" }];
  });
}

export function parseGroup(text: string): GroupEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name, , gid, members] = line.split(":");
    const number = idOf(gid);
    if (name === undefined || name === "" || number === null) return [];
    return [{ name, gid: number, members: (members ?? "").split(",").filter((member) => member !== "") }];
  });
}

/** `wanted` is `user`, `uid`, `user:group`, `uid:gid`, `uid:group`, `user:gid` or empty for root. */
export function resolveUser(wanted: string, passwdText: string, groupText: string): User {
  const [userPart = "", groupPart = ""] = wanted.split(":");
  const passwd = parsePasswd(passwdText);
  const groups = parseGroup(groupText);
  const sought = userPart === "" ? "0" : userPart;
  const entry = passwd.find(({ name }) => name === sought) ??
    passwd.find(({ uid }) => uid === idOf(sought));
  const uid = entry?.uid ?? idOf(sought);
  if (uid === null) {
    throw new BootError(
      `Cannot run as user "${userPart}": /etc/passwd of the image has no such name (${passwd.length} entries)`,
    );
  }
  const home = entry === undefined || entry.home === "" ? "/" : entry.home;
  if (groupPart !== "") {
    const gid = groups.find(({ name }) => name === groupPart)?.gid ?? idOf(groupPart);
    if (gid === null) {
      throw new BootError(
        `Cannot run as group "${groupPart}": /etc/group of the image has no such name (${groups.length} entries)`,
      );
    }
    return { uid, gid, groups: [gid], home };
  }
  const gid = entry?.gid ?? 0;
  const supplementary = entry === undefined
    ? []
    : groups.filter(({ members }) => members.includes(entry.name)).map((group) => group.gid);
  return { uid, gid, groups: [...new Set([gid, ...supplementary])], home };
}

function idOf(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return null;
  const id = Number(text);
  return id <= ID_MAX ? id : null;
}
