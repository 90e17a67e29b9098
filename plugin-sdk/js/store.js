// Memory shared by all instances of the plugin in one gateway. `ttlMs` null keeps a value for good.
import * as host from "gatewright:plugin/shared-store@0.1.0";

/** The bytes under a key, or null. */
export const get = (key) => host.get(key)?.value ?? null;
export const set = (key, value, ttlMs = null) => host.set(key, value, ttlMs);
export const remove = (key) => host.remove(key);
/** Adds to a counter and gives the new value. The time to live is set when the counter is made. */
export const increment = (key, delta = 1, ttlMs = null) => host.increment(key, delta, ttlMs);
