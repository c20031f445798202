/** Which bytes may stand where (RFC 9110 section 5.6.2 and 5.5, RFC 9112 section 3.2), as one table of bits. */
export const TOKEN = 1;
/** field-vchar, SP and HTAB; obs-text is passed on, everything else below SP and DEL is refused. */
export const VALUE = 2;
/** What a request target may hold: visible ASCII but `#`, which two readers would read differently. */
export const TARGET = 4;
export const DIGIT = 8;
export const HEX = 16;
/** A registered name as DNS and practice know it; percent-encoding in a host is refused. */
export const HOST = 32;

export const BYTE_CLASS = new Uint8Array(256);

function mark(bit: number, characters: string): void {
  for (let i = 0; i < characters.length; i++) BYTE_CLASS[characters.charCodeAt(i)]! |= bit;
}
function markRange(bit: number, from: number, to: number): void {
  for (let code = from; code <= to; code++) BYTE_CLASS[code]! |= bit;
}

const digits = "0123456789";
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
mark(TOKEN, "!#$%&'*+-.^_`|~" + digits + letters);
mark(VALUE, "\t");
markRange(VALUE, 0x20, 0x7e);
markRange(VALUE, 0x80, 0xff);
markRange(TARGET, 0x21, 0x7e);
BYTE_CLASS[0x23]! &= ~TARGET;
mark(DIGIT, digits);
mark(HEX, digits + "abcdefABCDEF");
mark(HOST, digits + letters + "-._");

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;
export const SEMICOLON = 59;
export const EQUALS = 61;
export const DQUOTE = 34;
export const BACKSLASH = 92;
