/** Opens private keys that control sealed to the edges (`control/contract/sealing.ts`). */
import { readFile } from "node:fs/promises";
import { compactDecrypt, importJWK } from "jose";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { OpeningKeys, SEALING_ALGORITHM, SEALING_ENCRYPTION } from "../../control/contract/sealing.ts";

/** A sealed key's PEM. Throws where no key of ours opens it; the message holds nothing of either. */
export type OpenSealedKey = (sealed: string) => Promise<string>;

/** @throws GodwitError `edge.sealing_key_unusable` */
export async function readOpeningKeys(file: string): Promise<OpeningKeys> {
  try {
    const parsed = OpeningKeys.safeParse(JSON.parse(await readFile(file, "utf8")));
    if (parsed.success) return parsed.data;
    // The path alone: what zod says can quote the file.
    throw new Error(`${parsed.error.issues[0]?.path.join(".")} is not as OpeningKeys wants it`);
  } catch (error) {
    const why = error instanceof SyntaxError ? "it is not JSON" : messageOf(error);
    throw new GodwitError("edge.sealing_key_unusable", `Cannot use the sealing key file ${file}: ${why}`, {
      fault: "us",
      hint: "See OpeningKeys in control/contract/sealing.ts.",
    });
  }
}

export function openerOf({ keys }: OpeningKeys): OpenSealedKey {
  const imported = new Map<string, ReturnType<typeof importJWK>>();
  return async (sealed) => {
    const { plaintext } = await compactDecrypt(sealed, ({ kid }) => {
      const key = keys.find((one) => one.kid === kid);
      if (key === undefined) throw new Error(`no sealing key ${JSON.stringify(kid)} here`);
      let ready = imported.get(key.kid);
      if (ready === undefined) imported.set(key.kid, ready = importJWK(key, SEALING_ALGORITHM));
      return ready;
    }, {
      keyManagementAlgorithms: [SEALING_ALGORITHM],
      contentEncryptionAlgorithms: [SEALING_ENCRYPTION],
    });
    return new TextDecoder().decode(plaintext);
  };
}

/** For edges without a sealing key: rows of certificates cannot be used, and say so. */
export const openNothing: OpenSealedKey = () => Promise.reject(new Error("this edge has no sealing key"));
