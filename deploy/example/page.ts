/** The page for browsers: the same facts as the JSON, in one HTML document without any other file. */
import type { Facts } from "./server.ts";

const rows: readonly [keyof Facts, string, (value: string) => string][] = [
  ["app", "app", (v) => v],
  ["machine", "machine", (v) => v],
  ["region", "region", (v) => v],
  ["private_ip", "private address", (v) => v],
  ["kernel", "kernel", (v) => v],
  ["pid1", "process 1", (v) => v],
  ["memory_mb", "memory", (v) => `${v} MB`],
  ["uptime_s", "up for", (v) => `${v} s`],
];

export function page(facts: Facts): string {
  const list = rows.map(([key, label, format]) => {
    const value = facts[key];
    return `<dt>${label}</dt><dd>${value === null ? "–" : escape(format(String(value)))}</dd>`;
  }).join("");
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(facts.app ?? "example")}</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.5rem; }
h1 { font-weight: 600; margin: 0 0 .25rem; }
p { margin: 0 0 2rem; opacity: .75; }
dl { display: grid; grid-template-columns: max-content 1fr; margin: 0; }
dt, dd { margin: 0; padding: .45rem 0; border-top: 1px solid var(--line); }
dt { padding-right: 2rem; opacity: .7; }
dd { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
<h1>It flies.</h1>
<p>This page was made inside the machine that it describes.</p>
<dl>${list}</dl>
</html>
`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
