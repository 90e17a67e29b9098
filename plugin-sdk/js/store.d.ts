/** The bytes under a key, or null. */
export function get(key: string): Uint8Array | null;
export function set(key: string, value: Uint8Array, ttlMs?: number | null): number;
export function remove(key: string): boolean;
/** Adds to a counter and returns the new value. The time to live is set when the counter is created. */
export function increment(key: string, delta?: number, ttlMs?: number | null): number;
