/** What somebody sees who opens the API's address in a browser. */
export const frontPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Godwit</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }</style>
<h1>Godwit</h1>
<p>This is the API of a Godwit control plane. It runs apps as virtual machines near their users.</p>
<ul>
<li><code>POST /graphql</code>: organisations, apps, releases, machines; needs <code>Authorization: Bearer</code></li>
<li><code>GET /v1/apps/NAME/logs</code>: log lines, live with <code>?follow=1</code></li>
<li><code>GET /healthz</code>: whether it is well</li>
</ul>
<p>The command line client is <code>godwit</code>.</p>
</html>
`;
