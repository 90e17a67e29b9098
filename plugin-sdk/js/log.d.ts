type Line = (message: string, fields?: Record<string, unknown>) => void;
export const debug: Line;
export const info: Line;
export const warn: Line;
export const error: Line;
/** Whether a line of this level would be kept. */
export function enabled(level: "trace" | "debug" | "info" | "warn" | "error"): boolean;
