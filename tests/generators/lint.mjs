// Redocly's rules for an OpenAPI document: `node lint.mjs <node_modules> <document> <configuration>` prints what they
// find as JSON. Their own command line needs 150 packages more.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, document, configuration] = process.argv.slice(2);
const core = pathToFileURL(resolve(modules, "@redocly/openapi-core/lib/index.js"));
const { lint, loadConfig } = await import(core.href);
const config = await loadConfig({ configPath: resolve(configuration) });
const found = await lint({ ref: resolve(document), config });
const told = found.map(({ ruleId, severity, message, location }) => ({
  ruleId,
  severity,
  message,
  at: location.map(({ pointer }) => pointer),
}));
process.stdout.write(JSON.stringify(told));
