// Calls to upstreams that the operator granted. They look blocking; the gateway runs other work meanwhile.
import * as host from "gatewright:plugin/http-client@0.1.0";
import { bytes, text, wellFormed } from "./plugin.js";

/** A call that got no response: `reason` is "unknown-upstream", "timed-out", "connection-failed", ... */
export class CallFailed extends Error {
  constructor(reason, upstream) {
    super(`${upstream}: ${reason}`);
    this.reason = reason;
  }
}

/** Calls an upstream and waits for the response. */
export function call(upstream, path, { method = "GET", headers = {}, body = "", timeoutMs = 0 } = {}) {
  try {
    const { status, headers: fields, body: answer } = host.send({
      upstream,
      method,
      path: wellFormed(path),
      headers: Object.entries(headers).map(([name, value]) => [name, wellFormed(value)]),
      body: bytes(body),
      timeoutMs,
    });
    return { status, headers: fields, body: answer, text: () => text(answer), json: () => JSON.parse(text(answer)) };
  } catch (error) {
    const reason = error?.payload?.tag ?? error?.tag;
    throw reason ? new CallFailed(reason, upstream) : error;
  }
}
