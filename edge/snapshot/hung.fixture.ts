/** A builder that does nothing, for ever. */
process.on("message", () => {});
setInterval(() => {}, 1_000);
