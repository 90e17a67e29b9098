// Writes contract.d.ts from ../../wit/plugin.wit, with jco's generator:
//
//     npm install --no-save @bytecodealliance/jco-transpile && node generate-types.mjs
//
// The generated types are for jco's own engine; in QuickJS a 64-bit number is a number, and an absent value is null.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const generator = await import(
  here("node_modules/@bytecodealliance/jco-transpile/vendor/js-component-bindgen-component.js")
);
await generator.$init;
const files = generator.generateTypes("plugin", {
  wit: { tag: "source", val: readFileSync(here("../../wit/plugin.wit"), "utf8") },
  world: "full-plugin",
  guest: true,
  features: { tag: "list", val: [] },
  tlaCompat: false,
});
const text = files
  .filter(([name]) => name.startsWith("interfaces/"))
  .map(([, bytes]) => new TextDecoder().decode(bytes))
  .join("")
  .replace(/^\/\/\/ <reference.*\n/gm, "")
  .replace(/\bbigint\b/g, "number")
  .replace(/\| undefined\b/g, "| null | undefined");
writeFileSync(
  here("contract.d.ts"),
  `// Generated from wit/plugin.wit by generate-types.mjs. Do not edit: change the contract, and run it.\n${text}`,
);
