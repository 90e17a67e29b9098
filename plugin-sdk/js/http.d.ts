/** A call that got no response. */
export class CallFailed extends Error {
  readonly reason:
    | "unknown-upstream" | "timed-out" | "connection-failed" | "response-too-large" | "limit-exceeded" | "other";
}

export interface Answer {
  status: number;
  headers: [string, Uint8Array][];
  body: Uint8Array;
  text(): string;
  json(): any;
}

/**
 * Calls an upstream and waits for the response.
 * @throws CallFailed
 */
export function call(
  upstream: string,
  path: string,
  options?: {
    method?: string;
    headers?: Record<string, string>;
    body?: string | Uint8Array;
    /** 0 means the operator's limit. */
    timeoutMs?: number;
  },
): Answer;
