// The parts of a plugin: `definePlugin`, and the decisions of its hooks.
import { write } from "gatewright:plugin/log@0.1.0";

/**
 * Makes the exports of a component. A plugin exports those that its world (wit/world.wit) names:
 *
 *     export const { lifecycle, requestHook } = definePlugin({ ... });
 *
 * If a hook throws, the error is logged and the hook fails: the gateway rolls back its changes, and the
 * operator's `on_error` decides about the request.
 */
export function definePlugin(plugin) {
  return {
    lifecycle: {
      describe: () =>
        JSON.stringify({
          name: plugin.name,
          version: plugin.version,
          "config-schema": plugin.configSchema,
          metrics: plugin.metrics,
        }),
      configure(text) {
        try {
          plugin.configure?.(JSON.parse(text || "{}"));
        } catch (error) {
          // A string is the contract's error; its text is shown to the operator beside the line of gateway.json.
          throw wellFormed(error instanceof Error ? error.message : String(error));
        }
      },
    },
    requestHook: { onRequest: guarded((end) => plugin.onRequest(end) ?? proceed) },
    requestBodyHook: { onRequestBody: guarded((chunk, end) => plugin.onRequestBody(chunk, end) ?? pass) },
    responseHook: { onResponse: guarded((end) => plugin.onResponse(end) ?? proceed) },
    responseBodyHook: { onResponseBody: guarded((chunk, end) => plugin.onResponseBody(chunk, end) ?? pass) },
    completionHook: { onComplete: guarded(() => plugin.onComplete()) },
    background: { onTick: guarded(() => plugin.onTick() ?? null) },
  };
}

/** Go on to the next plugin, with all changes made so far. */
export const proceed = Object.freeze({ tag: "proceed" });
/** Stop here and reset the client's stream. */
export const abort = Object.freeze({ tag: "abort" });
/** Send the chunk, and everything held so far, on unchanged. */
export const pass = Object.freeze({ tag: "pass" });
/** Keep the chunk back; it is shown again, joined with the next chunk or with several. */
export const hold = Object.freeze({ tag: "hold" });

/** Send this instead of the chunk and everything held so far. */
export function replace(body) {
  return { tag: "replace", val: bytes(body) };
}

/** Stop here and answer the client. `headers` is an object or a list of pairs; `body` is a text or a Uint8Array. */
export function respond(status, { headers = {}, body = "" } = {}) {
  const fields = Array.isArray(headers) ? headers : Object.entries(headers);
  const wellFormedFields = fields.map(([name, value]) => [name, wellFormed(value)]);
  return { tag: "respond", val: { status, headers: wellFormedFields, body: bytes(body) } };
}

/** Answers with JSON. */
export function respondJson(status, value, headers = {}) {
  return respond(status, { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(value) });
}

/** Answers with a problem (RFC 9457), as the gateway itself does. */
export function problem(status, title, detail) {
  return respondJson(status, { type: "about:blank", title, status, detail }, { "content-type": "application/problem+json" });
}

/** Encodes a text as UTF-8. A plugin has no TextEncoder. */
export function bytes(text) {
  if (typeof text !== "string") return text;
  return Uint8Array.from(unescape(encodeURIComponent(wellFormed(text))), (unit) => unit.charCodeAt(0));
}

/** Makes a text valid UTF-8: a lone surrogate, which JSON may contain, becomes U+FFFD. */
export function wellFormed(text) {
  return typeof text === "string" ? text.toWellFormed() : text;
}

/** Decodes UTF-8; invalid bytes become U+FFFD. */
export function text(bytes) {
  let units = "";
  // In pieces, because arguments are passed on the stack.
  for (let at = 0; at < bytes.length; at += 4096) units += String.fromCharCode(...bytes.subarray(at, at + 4096));
  try {
    return decodeURIComponent(escape(units));
  } catch {
    return units.replace(CHARACTERS, (bytes) => (bytes.length > 1 ? decodeURIComponent(escape(bytes)) : "\ufffd"));
  }
}

/** Matches the characters of UTF-8 with several bytes (RFC 3629, section 4), and bytes that belong to no character. */
const CHARACTERS = new RegExp(
  [
    "[\\xc2-\\xdf][\\x80-\\xbf]",
    "\\xe0[\\xa0-\\xbf][\\x80-\\xbf]",
    "[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}",
    "\\xed[\\x80-\\x9f][\\x80-\\xbf]",
    "\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}",
    "[\\xf1-\\xf3][\\x80-\\xbf]{3}",
    "\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}",
    "[\\x80-\\xff]",
  ].join("|"),
  "g",
);

// A plugin has no system clock, and reading it would trap without a message.
function noTime() {
  throw new Error("a plugin has no clock of its own: import { now } from \"gatewright:plugin/clock@0.1.0\"");
}
Date.now = noTime;
globalThis.Date = new Proxy(Date, {
  apply: noTime,
  construct: (date, parameters, target) =>
    parameters.length > 0 ? Reflect.construct(date, parameters, target) : noTime(),
});
Date.prototype.constructor = Date;

function guarded(hook) {
  return (...parameters) => {
    try {
      return hook(...parameters);
    } catch (error) {
      write("error", wellFormed(error instanceof Error ? `${error}\n${error.stack}` : String(error)), []);
      throw error;
    }
  };
}
