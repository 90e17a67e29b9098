// The exchange that the running hook is about. Every property and method is one call to the gateway, and nothing is
// cached; outside of a hook a call fails. A change that the gateway refuses throws a Refused.
import * as host from "gatewright:plugin/exchange@0.1.0";
import { wellFormed } from "./plugin.js";

/** A change that the gateway refused: `reason` is "forbidden", "invalid-syntax", "wrong-phase", ... */
export class Refused extends Error {
  constructor(reason, what) {
    super(`${what}: ${reason}`);
    this.reason = reason;
  }
}

class Headers {
  #section;

  constructor(section) {
    this.#section = section;
  }

  /** The first value of a field, or null. */
  get(name) {
    return host.header(this.#section, name) ?? null;
  }

  /** The first values of several fields, in one call. */
  select(...names) {
    return host.selectHeaders(this.#section, names);
  }

  has(name) {
    return this.get(name) !== null;
  }

  set(name, value) {
    change(name, () => host.setHeader(this.#section, name, wellFormed(value)));
  }

  append(name, value) {
    change(name, () => host.appendHeader(this.#section, name, wellFormed(value)));
  }

  delete(name) {
    change(name, () => host.removeHeader(this.#section, name));
  }

  /** Every field in order, as pairs of a name in lower case and the bytes of a value. */
  all() {
    return host.headers(this.#section);
  }
}

export const request = {
  get method() {
    return host.method();
  },
  set method(method) {
    change("method", () => host.setMethod(method));
  },
  get scheme() {
    return host.scheme();
  },
  get authority() {
    return host.authority();
  },
  set authority(authority) {
    change("authority", () => host.setAuthority(authority));
  },
  /** The path with the query. */
  get path() {
    return host.path();
  },
  set path(path) {
    change("path", () => host.setPath(wellFormed(path)));
  },
  headers: new Headers("request-headers"),
  /** Asks for the body: "whole" or "chunks". */
  readBody(mode) {
    change("body", () => host.setBodyMode("request", mode));
  },
};

export const response = {
  /** 0 before there is a response. */
  get status() {
    return host.status();
  },
  set status(status) {
    change("status", () => host.setStatus(status));
  },
  headers: new Headers("response-headers"),
  /** Asks for the body: "whole" or "chunks". */
  readBody(mode) {
    change("body", () => host.setBodyMode("response", mode));
  },
};

/** Who is calling, once a plugin has authenticated the caller: { subject, claims }, or null. */
export function identity() {
  const caller = host.identity();
  return caller ? { subject: caller.subject, claims: JSON.parse(caller.claims || "{}") } : null;
}

export function setIdentity(subject, claims = {}) {
  change("identity", () => host.setIdentity({ subject: wellFormed(subject), claims: JSON.stringify(claims) }));
}

/** An attribute of the exchange, such as "source.address" or "route.name"; null if it is not known. */
export function attribute(name) {
  return host.attribute(name) ?? null;
}

/** Sets `plugin.<this plugin>.<name>` for later plugins and the access log. */
export function setAttribute(name, value) {
  change(name, () => host.setAttribute(name, wellFormed(value)));
}

/** Sends the request to another upstream of the route. */
export function setUpstream(name) {
  change("upstream", () => host.setUpstream(name));
}

/** The bytes that this plugin keeps for this exchange. */
export function state() {
  return host.state();
}

export function setState(bytes) {
  change("state", () => host.setState(bytes));
}

function change(what, make) {
  try {
    make();
  } catch (error) {
    const reason = error?.payload?.tag ?? error?.tag;
    throw reason ? new Refused(reason, what) : error;
  }
}
